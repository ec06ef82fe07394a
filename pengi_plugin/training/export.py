"""A training run in, a folder with the whole trained model out.

    pengi export results/pengi/1986 pengi_mini

The folder is what ``pengi convert`` writes: it answers with
``AudioLanguageModel.from_hparams(source=FOLDER)``, needs no network, can be pushed
to a hub as it is, and training continues from it with ``--pretrained_folder``.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from speechbrain.utils.checkpoints import Checkpoint
from yaml import YAMLError  # SpeechBrain reads checkpoints with PyYAML

from pengi_plugin.pretrained.card import note_datasets
from pengi_plugin.pretrained.folder import HPARAMS_FILE, load_folder, load_pretrained
from pengi_plugin.pretrained.int8 import write_int8
from pengi_plugin.pretrained.write import dumped, kind_of, write_model
from pengi_plugin.storage.atomic import new_folder
from pengi_plugin.storage.fingerprint import fingerprint
from pengi_plugin.training.adaptation import adapt, has_lora, merged, write_adapter
from pengi_plugin.training.checkpoints import WholeCheckpointer
from pengi_plugin.training.identity import DATASETS, PRETRAINED, recorded

#: Folder beside an exported model with the low-rank updates of its LM alone. The
#: model's own LM has them added to its weights.
ADAPTER = "adapter"


def export_run(
    run_folder: str | os.PathLike,
    output_folder: str | os.PathLike,
    model: dict | None = None,
    int8: bool = False,
) -> None:
    """Write a folder with the model that a run has trained, at its best.

    Its weights are those of the checkpoint with the lowest validation loss (or the
    newest without, as in mid-epoch, if none has one). A checkpoint that was cut off is
    passed over.

    Arguments
    ---------
    run_folder : str
        The run's ``output_folder``: it holds ``hyperparams.yaml``, whose ``model``
        section is the model, and checkpoints in the
        ``save_folder`` that its YAML names (``save`` if it names none).
    output_folder : str
        The folder to write; must not exist, or be empty. A failure leaves nothing
        behind.
    model : dict
        The constructed ``model`` section, where there is one, as at the end of a
        training script: its frozen parts are written as they are, and the folder
        takes the place of an earlier export. If None, the model is built anew.
    int8 : bool
        Whether the folder holds int8 weights, for inference; see ``lobes.int8``.

    Raises
    ------
    FileNotFoundError
        If the run has no YAML or no checkpoint.
    ValueError
        If its YAML has no ``model`` section, the checkpoint is not of it, or its
        frozen parts were random.
    """
    run_folder = Path(run_folder).expanduser()
    tree = read_run(run_folder)
    section = tree["model"]
    save_folder = save_folder_of(run_folder, tree)
    is_live = model is not None
    if not is_live:
        check_pretrained(tree, save_folder)
        model = rebuild(section, tree.get("pretrained_folder"))
        adapt(model, tree)
    load_checkpoint(model, save_folder)
    with new_folder(
        output_folder, replaces=HPARAMS_FILE if is_live else None
    ) as folder:
        if "lm" in model and has_lora(model["lm"]):
            write_adapter(model["lm"], folder / ADAPTER)
            model = {**model, "lm": merged(model["lm"])}
        write_model(folder, section, model)
        note_datasets(folder, list(recorded(save_folder, DATASETS)))
        if int8:
            write_int8(folder, trust=True)
        # Strict: a folder that does not load is not kept. Its YAML is the run's own.
        load_folder(folder, trust=True)


def read_run(run_folder: Path) -> CommentedMap:
    """Return a run's YAML, which has a ``model`` section."""
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
    return tree


def save_folder_of(run_folder: Path, tree: Mapping) -> Path:
    """Return where a run's checkpoints are: below the run, wherever it was moved to,
    or in a folder elsewhere that its YAML names.

    Example
    -------
    >>> run = {"output_folder": "results/1", "save_folder": "results/1/save"}
    >>> save_folder_of(Path("copy"), run).as_posix()
    'copy/save'
    >>> save_folder_of(Path("copy"), run | {"save_folder": "disk"}).as_posix()
    'disk'
    """
    named = Path(tree.get("save_folder", "save"))
    output_folder = tree.get("output_folder")
    if output_folder is None or "save_folder" not in tree:
        return run_folder / named
    if named.is_relative_to(output_folder):
        return run_folder / named.relative_to(output_folder)
    return named


def check_pretrained(tree: Mapping, save_folder: Path) -> None:
    """Raise ValueError if a run's frozen parts are not where it took them from."""
    source = tree.get("pretrained_folder")
    before = recorded(save_folder, "settings").get(PRETRAINED)
    if source and before and fingerprint(source) != before:
        raise ValueError(
            f"{source}, from which the run took its frozen parts, holds another model "
            "now. Put it back, or take the folder that the run itself exported."
        )


def rebuild(section: CommentedMap, pretrained_folder: str | None) -> dict:
    """Construct a run's model with the frozen parts that it had."""
    model = load_hyperpyyaml(dumped(section))
    if "pretrainer" in model:
        load_pretrained(model["pretrainer"], pretrained_folder, trust=True)
        return model
    frozen = model[kind_of(section)].frozen_parts
    random = [name for name in frozen if "config" in section[name]]
    if random:
        raise ValueError(
            f"The run's {' and '.join(random)} had random weights, which checkpoints "
            "do not hold. Export such a model at the end of its training (model=...)."
        )
    return model


def load_checkpoint(model: dict, save_folder: Path) -> None:
    """Load the best checkpoint's trained weights into a model.

    Arguments
    ---------
    model : dict
        A constructed ``model`` section.
    save_folder : Path
        Of the checkpoints.

    Raises
    ------
    FileNotFoundError
        If there is no whole checkpoint, or every loss is NaN or infinite.
    ValueError
        If it holds no model, or another one.
    """
    is_there = save_folder.is_dir()
    checkpointer = WholeCheckpointer(save_folder) if is_there else None
    try:
        checkpoint = checkpointer and (
            checkpointer.find_checkpoint(min_key="loss")
            or checkpointer.find_checkpoint(
                ckpt_predicate=lambda c: "loss" not in c.meta
            )
        )
    except (YAMLError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise ValueError(
            f"A CKPT.yaml in {save_folder} is damaged; remove the folder that it lies "
            f"in. ({type(error).__name__}: {error})"
        ) from error
    if checkpoint is None:
        raise FileNotFoundError(
            f"{save_folder} holds no whole checkpoint with a finite validation loss."
        )
    kind = kind_of(model)
    state = trained_state(checkpoint, kind)
    try:
        model[kind].load_trained_state(state)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{checkpoint.path} does not fit the model: {error}"
        ) from error


def trained_state(checkpoint: Checkpoint, kind: str) -> dict:
    """Return the weights that a checkpoint holds under ``pengi`` or ``clap``."""
    path = checkpoint.paramfiles.get(kind)
    if path is None:
        raise ValueError(
            f"{checkpoint.path} holds no weights of a model under {kind!r}; its "
            f"files are {sorted(checkpoint.paramfiles)}."
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} is damaged, or holds more than weights; remove the checkpoint's "
            f"folder, so that an earlier one is taken. ({type(error).__name__}: "
            f"{str(error).splitlines()[:1]})"
        ) from error
