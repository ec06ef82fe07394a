"""A released Pengi checkpoint in, a folder that inference and training load out.

    pengi convert base.pth pengi_base

The folder holds ``hyperparams.yaml``, one safetensors file per part and the
tokenizers. Names and shapes are checked against the tables of ``released``.
"""

import logging
import os
import pickle
import re
from collections import defaultdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from pengi_plugin.conversion import released
from pengi_plugin.conversion.layout import check_layout
from pengi_plugin.lobes.tokenizer import HFTokenizer
from pengi_plugin.pretrained.folder import HPARAMS_FILE, load_folder
from pengi_plugin.pretrained.int8 import write_int8
from pengi_plugin.pretrained.write import write_template
from pengi_plugin.storage.atomic import new_folder

logger = logging.getLogger(__name__)

#: Where the tokenizers come from when no folder is given: the paper's choices.
LM_TOKENIZER = "gpt2"
TEXT_TOKENIZER = "openai/clip-vit-base-patch16"

#: GPT-2's and CLIP's attention heads have this width in the released files.
HEAD_WIDTH = 64


#: Appended to every answer when the released model was trained.
ANSWER_END = " <|endoftext|>"


def convert(
    checkpoint: str | os.PathLike,
    output_folder: str | os.PathLike,
    lm_tokenizer: str | os.PathLike = LM_TOKENIZER,
    text_tokenizer: str | os.PathLike = TEXT_TOKENIZER,
    int8: bool = False,
) -> None:
    """Turn a released checkpoint into a folder for ``from_hparams``.

    Arguments
    ---------
    checkpoint : str
        ``base.pth`` or ``base_no_text_enc.pth``, or a file laid out like one. All
        sizes are read from its shapes.
    output_folder : str
        The folder to write; must not exist, or be empty. It gets its name when it
        is complete and has been loaded once; a failure leaves nothing behind.
    lm_tokenizer : str
        Folder with GPT-2's tokenizer, or a hub name.
    text_tokenizer : str
        Folder with CLIP's tokenizer, or a hub name; a checkpoint without text
        encoder needs none.
    int8 : bool
        Whether the folder holds int8 weights, for inference; see ``lobes.int8``.

    Raises
    ------
    FileNotFoundError
        If the checkpoint or a tokenizer is not there.
    FileExistsError
        If ``output_folder`` holds something.
    ValueError
        If the file is not a checkpoint of tensors only, or a key is missing,
        unexpected or of a wrong shape; names the keys.
    """
    with new_folder(output_folder) as folder:
        weights = read_checkpoint(checkpoint)
        try:
            shapes = {name: tuple(value.shape) for name, value in weights.items()}
            sizes, names = check_layout(shapes)
            check_tied(weights)
        except ValueError as error:
            raise ValueError(f"{checkpoint}: {error}") from error
        has_text_encoder = "d_clip" in sizes
        values = yaml_values(sizes)
        values |= save_lm_tokenizer(lm_tokenizer, sizes, folder)
        if has_text_encoder:
            values |= save_text_tokenizer(text_tokenizer, sizes, folder)
        for part, tensors in parts_of(weights, names, has_text_encoder).items():
            save_file(tensors, folder / f"{part}.safetensors")
        template = "base" if has_text_encoder else "base_no_text_encoder"
        write_template(f"{template}.yaml", folder / HPARAMS_FILE, values)
        write_template("model_card.md", folder / "README.md", values)
        if int8:
            write_int8(folder)
        load_folder(folder)  # strict: a folder that does not load is not kept


def read_checkpoint(path: str | os.PathLike) -> dict[str, Tensor]:
    """Return the weights of a checkpoint without the ``module.`` of its keys.

    Only tensors and plain values are unpickled, so no code in the file can run.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds anything else, or no weights under ``['model']``.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"{path} is not a file; give the released base.pth or base_no_text_enc.pth."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is refused: it is no file of tensors and plain values only, and "
            "loading anything else could run code on this machine. Get the file from "
            f"its authors again. ({str(error).splitlines()[0]})"
        ) from error
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as a PyTorch checkpoint; is the download complete? "
            f"({error})"
        ) from error
    weights = content.get("model") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not weights:
        keys = sorted(map(str, content))[:5] if isinstance(content, dict) else "none"
        raise ValueError(
            f"{path} holds no weights under ['model'], as released checkpoints do; "
            f"its first keys are {keys}."
        )
    wrong = [str(key) for key, value in weights.items() if not torch.is_tensor(value)]
    if wrong:
        raise ValueError(f"{path}: not tensors: {', '.join(wrong[:5])}.")
    bare = {re.sub(r"^module\.", "", key): value for key, value in weights.items()}
    if len(bare) < len(weights):
        raise ValueError(f"{path} holds keys both with and without 'module.'.")
    return bare


def check_tied(weights: dict[str, Tensor]) -> None:
    """Raise ValueError if GPT-2's output layer is not tied to its embeddings."""
    output, embedding = (weights[name] for name in released.TIED)
    if not torch.equal(output, embedding):
        raise ValueError(
            f"{released.TIED[0]} differs from {released.TIED[1]}; in released "
            "checkpoints they are one matrix, and we keep one."
        )


def parts_of(
    weights: dict[str, Tensor], names: list[str], has_text_encoder: bool
) -> dict[str, dict[str, Tensor]]:
    """Rename the learned weights and group them by part, in float32.

    Arguments
    ---------
    weights : dict
        Released name -> weight.
    names : list of str
        Names of the learned weights; one that is absent becomes zeros.
    has_text_encoder : bool
        Whether the second table of renames stays out.

    Returns
    -------
    parts : dict
        Part (``audio_encoder``, ``lm``, ...) -> its state dict.
    """
    renames = released.RENAMES
    if not has_text_encoder:
        renames += released.RENAMES_WITHOUT_TEXT_ENCODER
    absent = [name for name in names if name not in weights]
    if absent:
        logger.warning(
            "The checkpoint holds no %s (and so on, %d keys): zeros are used.",
            absent[0],
            len(absent),
        )
    parts = defaultdict(dict)
    for name in names:
        if name in released.UNUSED:
            continue
        value = weights.get(name)
        if value is None:
            value = torch.zeros(weights[name.replace(".bias", ".weight")].shape[1])
        for pattern, replacement in renames:
            name = re.sub(pattern, replacement, name)
        part, key = name.split(".", 1)
        parts[part][key] = value.float().contiguous().clone()
    return dict(parts)


def yaml_values(sizes: dict) -> dict:
    """Return what the ``$words`` of the YAML template stand for.

    Raises
    ------
    ValueError
        If heads of the released width do not fit the language model or CLIP.
    """
    values = dict(sizes)
    n_head = sizes["n_head"]
    values["heads"] = [n_head * 2**stage for stage in range(len(sizes["depths"]))]
    values["d_audio"] = sizes["dim"] * 2 ** (len(sizes["depths"]) - 1)
    values["spec_size"] = released.SPEC_SIZE
    for width in ("d_model", "d_clip"):
        if width not in sizes:
            continue
        if sizes[width] % HEAD_WIDTH:
            raise ValueError(
                f"{width} must be a multiple of {HEAD_WIDTH}, the width of a head in "
                f"released checkpoints; got {sizes[width]}."
            )
        values[f"n_head_of_{width}"] = sizes[width] // HEAD_WIDTH
    return values


def save_lm_tokenizer(source: str | os.PathLike, sizes: dict, folder: Path) -> dict:
    """Save the LM's tokenizer; return the id at which generation stops."""
    tokenizer = HFTokenizer(source)
    check_vocabulary(tokenizer, sizes["vocab"], source)
    tokenizer.save(folder / "lm_tokenizer.json")
    return {"eos_index": tokenizer.encode_as_ids(ANSWER_END)[0]}


def save_text_tokenizer(source: str | os.PathLike, sizes: dict, folder: Path) -> dict:
    """Save the text encoder's tokenizer; return the ids that frame a prompt."""
    tokenizer = HFTokenizer(source)
    check_vocabulary(tokenizer, sizes["text_vocab"], source)
    tokenizer.save(folder / "text_tokenizer.json")
    frame = tokenizer.encode_as_ids("", add_special_tokens=True)
    if len(frame) != 2:
        raise ValueError(
            f"The tokenizer of {source} should frame a prompt with a start and an end "
            f"token, as CLIP's does; an empty prompt has the ids {frame}."
        )
    return {"text_bos": frame[0], "text_eos": frame[1]}


def check_vocabulary(tokenizer: HFTokenizer, n_embedding: int, source: str) -> None:
    """Raise ValueError if a tokenizer has ids that the model has no embedding for."""
    if len(tokenizer) > n_embedding:
        raise ValueError(
            f"The tokenizer of {source} has {len(tokenizer)} tokens, the checkpoint "
            f"{n_embedding} embeddings; it is another model's."
        )
