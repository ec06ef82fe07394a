"""Weights on disk: checkpoints of a run, and a model's parts as safetensors files.

SpeechBrain's ``Pretrainer`` loads a module with ``strict=False``: a part that
does not fit would stay random without a word. Give ``load_part`` as its custom
hook for every part instead.
"""

import os
from pathlib import Path

from safetensors.torch import load_model, save_model
from speechbrain.utils.checkpoints import Checkpoint, Checkpointer
from speechbrain.utils.distributed import main_process_only
from torch import nn

#: An empty file that is written into a checkpoint last.
WHOLE = "WHOLE"


class WholeCheckpointer(Checkpointer):
    """A Checkpointer that never takes up a checkpoint that was cut off.

    SpeechBrain writes ``CKPT.yaml`` first, which makes a folder a checkpoint: a
    process killed while it saves leaves one that cannot be loaded. Here a last file
    says that a checkpoint is whole; those without it are not seen.

    Arguments
    ---------
    checkpoints_dir : str
        Where checkpoints are.
    recoverables : dict
        Name -> what is saved and loaded.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> checkpointer = WholeCheckpointer(folder, {"layer": nn.Linear(2, 3)})
    >>> _ = checkpointer.save_checkpoint()
    >>> len(checkpointer.list_checkpoints())
    1
    """

    def save_checkpoint(self, *args, **kwargs) -> Checkpoint | None:
        """Save as ``Checkpointer`` does; None on other than the main process."""
        checkpoint = super().save_checkpoint(*args, **kwargs)
        if checkpoint is not None:
            (checkpoint.path / WHOLE).touch()
        return checkpoint

    def delete_checkpoints(self, **options) -> None:
        """Delete as ``Checkpointer`` does, chosen by the main process.

        SpeechBrain has every process list the folder and deletes what each has
        listed together: one that looks a moment later sees other checkpoints, and
        all wait forever.
        """
        main_process_only(super().delete_checkpoints)(**options)

    def list_checkpoints(self) -> list[Checkpoint]:
        """Return the checkpoints that are whole."""
        return [c for c in super().list_checkpoints() if (c.path / WHOLE).exists()]


def save_part(module: nn.Module, path: str | os.PathLike) -> None:
    """Write a module's weights to a safetensors file, tied weights once.

    Arguments
    ---------
    module : torch.nn.Module
        The part.
    path : str
        The file; what was there stays whole until the new one is complete.

    Example
    -------
    >>> save_part(nn.Linear(2, 3), getfixture("tmp_path") / "part.safetensors")
    >>> load_part(nn.Linear(2, 3), getfixture("tmp_path") / "part.safetensors")
    """
    path = Path(path)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        save_model(module, str(unfinished))
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_part(module: nn.Module, path: str | os.PathLike) -> None:
    """Load a module's weights from a safetensors file, strictly.

    Arguments
    ---------
    module : torch.nn.Module
        The part; changed in place.
    path : str
        The file.

    Raises
    ------
    ValueError
        If a weight is missing, unexpected or of another shape; names it.
    """
    try:
        load_model(module, str(path), strict=True)
    except RuntimeError as error:
        raise ValueError(
            f"{path} does not hold the weights of this {type(module).__name__}: {error}"
        ) from error
