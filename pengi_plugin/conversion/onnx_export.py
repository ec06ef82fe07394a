"""A model's folder in, a folder of ONNX graphs with all that an answer needs out.

    pengi export-onnx results/pengi/1986/model pengi_onnx

It holds ``audio.onnx``, ``prompt.onnx``, ``lm.onnx`` (see ``onnx_graphs``), the
tokenizers and ``pengi.json``. ``recipes/onnx/answer.py`` answers with it and needs
neither PyTorch nor this package.
"""

import copy
import json
import os
from pathlib import Path

import torch
from speechbrain.utils.fetching import FetchSource
from torch import Tensor, nn

from pengi_plugin.conversion.onnx_graphs import (
    AudioGraph,
    LMGraph,
    PromptGraph,
    empty_past,
)
from pengi_plugin.lobes.int8 import is_int8
from pengi_plugin.pretrained.folder import find_folder, load_folder
from pengi_plugin.storage.atomic import new_folder

#: What the example needs beside the graphs.
SETTINGS_FILE = "pengi.json"

#: Lengths of what is traced; any but 0 and 1, which would be taken for constants.
N_ROW, N_PREFIX, N_TOKEN, N_PAST = 2, 3, 4, 5


def export_onnx(
    source: str | os.PathLike | FetchSource,
    output_folder: str | os.PathLike,
    trust: bool = False,
) -> None:
    """Write the graphs of a model.

    Arguments
    ---------
    source : str, Path or FetchSource
        A model's folder or name on the hub, with weights in float32.
    output_folder : str
        The folder to write; must not exist, or be empty. A failure leaves nothing
        behind.
    trust : bool
        Whether the model's YAML may build anything.

    Raises
    ------
    ValueError
        If the extra ``onnx`` is not installed, or a part cannot be exported; says which
        and why.
    """
    check_installed()
    _, name = source = find_folder(source)
    hparams = load_folder(source, trust)
    check_model(hparams, name)
    pengi = hparams["pengi"].eval()
    with new_folder(output_folder) as folder:
        for name, graph, inputs, outputs, shapes in graphs(pengi, hparams):
            write_graph(folder / f"{name}.onnx", graph, inputs, outputs, shapes)
        settings = settings_of(hparams)
        for name, tokenizer in tokenizers_of(hparams).items():
            settings[name] = f"{name}{tokenizer.suffix}"
            tokenizer.save(folder / settings[name])
        text = json.dumps(settings, indent=1) + "\n"
        (folder / SETTINGS_FILE).write_text(text, encoding="utf-8")


def check_installed() -> None:
    """Raise ValueError unless the extra ``onnx`` is installed."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(
            "pengi export-onnx needs onnx and onnxscript: pip install "
            "'pengi-plugin[onnx]'."
        ) from error


def check_model(hparams: dict, source: str) -> None:
    """Raise ValueError if a model cannot be exported."""
    pengi = hparams.get("pengi")
    if pengi is None:
        raise ValueError(f"{source} is no Pengi: only a Pengi is exported to ONNX.")
    if is_int8(pengi):
        raise ValueError(
            f"{source} holds int8 weights, whose products are PyTorch's own. Export "
            "the folder in float32, and quantize the graphs with onnxruntime."
        )
    if getattr(pengi.audio_encoder, "over_time", False):
        raise ValueError(
            f"{source} reads the windows of a recording as one sequence; audio.onnx "
            "takes one window. Export a model of one vector per clip."
        )
    if not hasattr(pengi.text_encoder, "encode_padded"):
        raise ValueError(
            f"The text encoder, a {type(pengi.text_encoder).__name__}, has no "
            "encode_padded, from which prompt.onnx is made."
        )


def graphs(pengi: nn.Module, hparams: dict):
    """Yield (name, module, inputs by name, names of outputs, what may vary)."""
    n_sample = round(hparams["clip_seconds"] * hparams["sample_rate"])
    torch.manual_seed(0)
    batch, n_id, n_prefix, n_token, n_past = map(
        torch.export.Dim, ("batch", "n_id", "n_prefix", "n_token", "n_past")
    )
    wav = {"wav": torch.randn(N_ROW, n_sample) / 10}
    yield "audio", AudioGraph(pengi), wav, ["prefix"], ({0: batch},)
    length = prompt_form(pengi.text_encoder)["length"]
    ids = {"ids": torch.ones(N_ROW, length or N_TOKEN, dtype=torch.long)}
    varies = ({0: batch} if length else {0: batch, 1: n_id},)
    yield "prompt", PromptGraph(pengi), ids, ["prefix"], varies
    read = {
        "prefix": torch.randn(N_ROW, N_PREFIX, pengi.lm.d_model),
        "ids": torch.ones(N_ROW, N_TOKEN, dtype=torch.long),
        "past": empty_past(pengi.lm, N_PAST, N_ROW),
    }
    varies = ({0: batch, 1: n_prefix}, {0: batch, 1: n_token}, {2: batch, 4: n_past})
    yield "lm", LMGraph(pengi.lm), read, ["logits", "present"], varies


def write_graph(
    path: Path, graph: nn.Module, inputs: dict[str, Tensor], outputs: list[str], varies
) -> None:
    """Write one graph, and read it once.

    Raises
    ------
    ValueError
        If PyTorch cannot express it in ONNX; says why.
    """
    import onnx

    try:
        with torch.no_grad():
            torch.onnx.export(
                copy.deepcopy(graph).eval(),
                tuple(inputs.values()),
                path,
                input_names=list(inputs),
                output_names=outputs,
                dynamic_shapes=varies,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        onnx.checker.check_model(str(path))
        check_free(onnx.load(path).graph.input, varies)
    except Exception as error:  # of the exporter's many
        reason = " ".join(str(error).split())[:500]
        raise ValueError(
            f"{path.name} cannot be exported by this PyTorch "
            f"({type(error).__name__}: {reason})."
        ) from error


def check_free(inputs, varies: tuple[dict[int, object], ...]) -> None:
    """Raise ValueError if an axis that may vary became a constant of a graph.

    PyTorch's exporter does so without a message where the code asks an axis for its
    number, as ``len(tensor)`` does.

    Arguments
    ---------
    inputs : sequence of onnx.ValueInfoProto
        Those of the graph.
    varies : tuple of dict
        Of each input: axis -> its name.
    """
    for value, axes in zip(inputs, varies, strict=True):
        shape = value.type.tensor_type.shape.dim
        fixed = {axis: shape[axis].dim_value for axis in axes}
        if fixed := {axis: size for axis, size in fixed.items() if size}:
            raise ValueError(
                f"axes of {value.name} became constants, as axis -> size: {fixed}"
            )


def prompt_form(encoder: nn.Module) -> dict:
    """Return how the tokens of a prompt are made, for ``pengi.json``.

    ``end`` is put behind the text; ``framed`` says whether the tokenizer's special
    tokens go around it; ``length`` is what all are padded to with ``pad``, or None.
    """
    end = getattr(encoder, "prompt_end", getattr(encoder, "text_end", ""))
    form = {"end": end, "framed": True, "length": None, "pad": 0}
    if hasattr(encoder, "pad_id"):  # the LM's own embeddings
        form |= {"framed": False, "length": encoder.max_tokens, "pad": encoder.pad_id}
    elif hasattr(encoder.model.config, "projection_dim"):  # CLIP
        pad = encoder.model.config.eos_token_id
        form |= {"length": encoder.max_tokens, "pad": pad}
    return {**form, "max_tokens": encoder.max_tokens}


def tokenizers_of(hparams: dict) -> dict:
    """Return name -> tokenizer: that of answers, and that of prompts."""
    encoder = hparams["pengi"].text_encoder
    found = {"tokenizer": hparams["tokenizer"]}
    return found | {"prompt_tokenizer": encoder.tokenizer}


def settings_of(hparams: dict) -> dict:
    """Return the content of ``pengi.json``."""
    pengi = hparams["pengi"]
    searcher = hparams["searcher"]
    return {
        "sample_rate": hparams["sample_rate"],
        "n_sample": round(hparams["clip_seconds"] * hparams["sample_rate"]),
        "prompt": prompt_form(pengi.text_encoder),
        "default_prompt": hparams["default_prompt"],
        "eos_index": hparams["eos_index"],
        "max_new_tokens": searcher.max_new_tokens,
        "max_positions": pengi.lm.max_positions,
        "d_model": pengi.lm.d_model,
        "past": list(empty_past(pengi.lm).shape),
    }
