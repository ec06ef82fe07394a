"""A training run in, a folder with the whole trained model out.

    pengi export results/pengi/1986 pengi_mini

The folder is what ``pengi convert`` writes: it answers with
``AudioLanguageModel.from_hparams(source=FOLDER)``, needs no network, can be pushed
to a hub as it is, and training continues from it with ``--pretrained_folder``.
"""

import inspect
import io
import json
import os
from pathlib import Path

import torch
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, TaggedScalar
from ruamel.yaml.tag import Tag
from speechbrain.utils.checkpoints import Checkpoint, Checkpointer
from torch import nn

from pengi_plugin.checkpoints import save_part
from pengi_plugin.convert import new_folder, write_template
from pengi_plugin.lobes.pengi import FROZEN_PARTS
from pengi_plugin.pretrained import HPARAMS_FILE, load_folder, load_pretrained

#: Parts that have a file of their own, if they have weights.
PARTS = (
    "audio_encoder",
    "audio_projection",
    "audio_mapper",
    "text_encoder",
    "text_projection",
    "text_mapper",
    "lm",
)

#: What every model's YAML holds, in this order; what it refers to comes first.
KEYS = (
    "sample_rate",
    "clip_seconds",
    "default_prompt",
    "answer_end",
    "eos_index",
    "normalize_prompt",
    "beam_size",
    "max_new_tokens",
    "audio_encoder",
    "audio_projection",
    "audio_mapper",
    "tokenizer",
    "text_encoder",
    "text_projection",
    "text_mapper",
    "lm",
    "pengi",
    "searcher",
    "modules",
)

#: How the YAML begins.
HEADER = """\
# A trained Pengi (Deshmukh et al., NeurIPS 2023), written by pengi export.
#
# AudioLanguageModel.from_hparams(source=FOLDER) answers with it, and
# recipes/multitask/train.py continues from it with --pretrained_folder FOLDER.

"""

#: Settings of a Hugging Face configuration that say where it came from.
PROVENANCE = ("_name_or_path", "architectures", "dtype", "transformers_version")


def export_run(
    run_folder: str | os.PathLike,
    output_folder: str | os.PathLike,
    model: dict | None = None,
) -> None:
    """Write a folder with the model that a run has trained.

    Arguments
    ---------
    run_folder : str
        The run's ``output_folder``: it holds ``hyperparams.yaml``, whose ``model``
        section is the model, and checkpoints in ``save``.
    output_folder : str
        The folder to write; must not exist, or be empty. A failure leaves nothing
        behind.
    model : dict
        The constructed ``model`` section, where there is one, as at the end of a
        training script: its weights are written as they are, in place of an
        earlier export of the same run. If None, the model is
        built anew and filled from the checkpoint with the lowest validation loss
        (or the newest, if none has a loss).

    Raises
    ------
    FileNotFoundError
        If the run has no YAML or no checkpoint.
    ValueError
        If its YAML has no ``model`` section, the checkpoint is not of it, or its
        frozen parts were random.
    """
    run_folder = Path(run_folder).expanduser()
    section, pretrained_folder = read_run(run_folder)
    is_live = model is not None
    if not is_live:
        model = rebuild(section, pretrained_folder)
        load_checkpoint(model["pengi"], run_folder / "save")
    with new_folder(output_folder, replace=is_live) as folder:
        write_model(folder, section, model)
        load_folder(folder)  # strict: a folder that does not load is not kept


def read_run(run_folder: Path) -> tuple[CommentedMap, str | None]:
    """Return the ``model`` section of a run's YAML and what it continued from."""
    path = run_folder / HPARAMS_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{run_folder} holds no {HPARAMS_FILE}; give a run's output_folder."
        )
    tree = YAML().load(path)
    if "model" not in tree:
        raise ValueError(
            f"{path} has no section 'model'; its keys are {sorted(tree)}. Only runs "
            "of a YAML with `model: !include:model/...` can be exported."
        )
    return tree["model"], tree.get("pretrained_folder")


def rebuild(section: CommentedMap, pretrained_folder: str | None) -> dict:
    """Construct a run's model with the frozen parts that it had."""
    model = load_hyperpyyaml(dumped(section))
    if "pretrainer" in model:
        load_pretrained(model["pretrainer"], pretrained_folder)
        return model
    random = [name for name in FROZEN_PARTS if "config" in section[name]]
    if random:
        raise ValueError(
            f"The run's {' and '.join(random)} had random weights, which checkpoints "
            "do not hold. Export such a model at the end of its training (model=...)."
        )
    return model


def load_checkpoint(pengi: nn.Module, save_folder: Path) -> None:
    """Load the best checkpoint's trained weights into a model.

    Raises
    ------
    FileNotFoundError
        If there is no checkpoint.
    ValueError
        If none of its files is of this model.
    """
    checkpointer = Checkpointer(save_folder) if save_folder.is_dir() else None
    checkpoint = checkpointer and (
        checkpointer.find_checkpoint(min_key="loss") or checkpointer.find_checkpoint()
    )
    if checkpoint is None:
        raise FileNotFoundError(f"{save_folder} holds no checkpoint.")
    pengi.load_trained_state(trained_state(checkpoint, pengi))


def trained_state(checkpoint: Checkpoint, pengi: nn.Module) -> dict:
    """Return the state in a checkpoint whose keys are most like the model's."""
    own = pengi.trained_state().keys()
    states = {}
    for name, path in checkpoint.paramfiles.items():
        if path.is_file() and name not in ("optimizer", "lr_annealing"):
            content = torch.load(path, map_location="cpu", weights_only=True)
            if isinstance(content, dict):
                states[name] = content
    if not any(own & state.keys() for state in states.values()):
        raise ValueError(
            f"{checkpoint.path} holds no weights of this model; its files are "
            f"{sorted(checkpoint.paramfiles)}."
        )
    return max(states.values(), key=lambda state: len(own & state.keys()))


def write_model(folder: Path, section: CommentedMap, hparams: dict) -> None:
    """Write weights, tokenizers, YAML and model card of a model.

    Arguments
    ---------
    folder : Path
        An empty folder.
    section : CommentedMap
        The model's YAML, resolved and not constructed; changed in place.
    hparams : dict
        The same, constructed and trained.
    """
    parts = [name for name in PARTS if hparams[name].state_dict()]
    files = {name: f"{name}.safetensors" for name in parts}
    for name, file in files.items():
        save_part(hparams[name], folder / file)
        if "source" in section[name]:
            describe_architecture(section[name], hparams[name])
    loadables = dict(zip(parts, parts))
    for name, key in separate_tokenizers(section, hparams).items():
        tokenizer = hparams["tokenizer" if key == "tokenizer" else "text_encoder"]
        tokenizer = getattr(tokenizer, "tokenizer", tokenizer)
        files[name] = f"{name}{tokenizer.suffix}"
        loadables[name] = key
        tokenizer.save(folder / files[name])
    tree = with_references(section)
    pretrainer = {
        "loadables": {name: reference(key) for name, key in loadables.items()},
        "files": files,
    }
    tree["pretrainer"] = tagged(
        "!new:pengi_plugin.pretrained.FolderPretrainer", pretrainer
    )
    (folder / HPARAMS_FILE).write_text(HEADER + dumped(tree), encoding="utf-8")
    write_template("exported_model_card.md", folder / "README.md", {})


def describe_architecture(node: CommentedMap, module: nn.Module) -> None:
    """Let a Hugging Face part's YAML say its configuration, not its source."""
    takes = inspect.signature(type(module).__init__).parameters
    for name in [name for name in node if name not in takes or name == "source"]:
        del node[name]
    config = module.model.config
    usual = json.loads(type(config)().to_json_string(use_diff=False))
    settings = json.loads(config.to_json_string(use_diff=False))
    node["config"] = {"model_type": config.model_type} | {
        name: value
        for name, value in settings.items()
        if name not in PROVENANCE and (name not in usual or usual[name] != value)
    }


def separate_tokenizers(section: CommentedMap, hparams: dict) -> dict[str, str]:
    """Empty the tokenizers' YAML and give each a key of its own.

    Returns
    -------
    keys : dict
        Name of the file -> key of the tokenizer in the YAML.
    """
    keys = {"lm_tokenizer": "tokenizer"}
    section["tokenizer"].clear()
    text_node = section["text_encoder"].get("tokenizer")
    if text_node is not None and text_node is not section["tokenizer"]:
        text_node.clear()
        section["text_tokenizer"] = text_node
        keys["text_tokenizer"] = "text_tokenizer"
    return keys


def with_references(section: CommentedMap) -> CommentedMap:
    """Return the model's YAML with ``!ref`` in place of repeated nodes.

    Of the keys that are not every model's, those that others refer to are kept.
    """
    names = {
        id(node): name
        for name, node in section.items()
        if isinstance(node, dict | list)
    }
    used: list[str] = []

    def replaced(node, is_top: bool = False):
        if id(node) in names and not is_top:
            visit(names[id(node)])
            return reference(names[id(node)])
        if isinstance(node, dict):
            for key, value in node.items():
                node[key] = replaced(value)
        elif isinstance(node, list):
            node[:] = [replaced(value) for value in node]
        return node

    def visit(name: str) -> None:
        if name not in used:
            replaced(section[name], is_top=True)
            used.append(name)

    for name in KEYS:
        visit(name)
    return CommentedMap((name, section[name]) for name in used)


def reference(name: str) -> TaggedScalar:
    """Return the YAML node ``!ref <name>``."""
    return TaggedScalar(value=f"<{name}>", style=None, tag=Tag(suffix="!ref"))


def tagged(tag: str, content: dict) -> CommentedMap:
    """Return a YAML mapping with a tag."""
    node = CommentedMap(content)
    node.yaml_set_ctag(Tag(suffix=tag))
    return node


def dumped(tree: CommentedMap) -> str:
    """Return a YAML tree as text."""
    text = io.StringIO()
    yaml = YAML()
    yaml.indent(mapping=4, sequence=4, offset=2)
    yaml.dump(tree, text)
    return text.getvalue()
