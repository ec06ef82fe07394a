"""Checkpoints of a run: saved by SpeechBrain's Checkpointer, never half of one."""

import math
import shutil
from pathlib import Path

from speechbrain.utils.checkpoints import Checkpoint, Checkpointer
from speechbrain.utils.distributed import if_main_process, main_process_only

#: An empty file that is written into a checkpoint last.
WHOLE = "WHOLE"

#: The names of checkpoints' folders, as SpeechBrain makes them.
FOLDERS = "CKPT+*"


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
    >>> from torch import nn
    >>> folder = getfixture("tmp_path")
    >>> checkpointer = WholeCheckpointer(folder, {"layer": nn.Linear(2, 3)})
    >>> _ = checkpointer.save_checkpoint()
    >>> len(checkpointer.list_checkpoints())
    1
    """

    def save_checkpoint(self, *args, **kwargs) -> Checkpoint | None:
        """Save as ``Checkpointer`` does; None on other than the main process.

        Raises
        ------
        OSError
            If the checkpoint cannot be written, as on a full disk. Nothing is left
            of it, and the ones before it stay.
        """
        try:
            checkpoint = super().save_checkpoint(*args, **kwargs)
            if checkpoint is not None:
                (checkpoint.path / WHOLE).touch()
        except (OSError, RuntimeError) as error:  # torch's, if the disk is full
            if if_main_process():
                remove_unfinished(self.checkpoints_dir)
            newest = self.find_checkpoint()
            kept = f"{newest.path} is whole" if newest else "There is none before it"
            raise OSError(
                f"A checkpoint could not be saved in {self.checkpoints_dir}: {error}. "
                f"{kept}. Free disk space, then give the same command again to go on."
            ) from error
        return checkpoint

    def save_and_keep_only(self, *args, importance_keys=(), **kwargs) -> None:
        """Save and delete as ``Checkpointer`` does.

        SpeechBrain's default for ``importance_keys`` is one list that grows with
        every call, and with it the time that a call takes.
        """
        super().save_and_keep_only(
            *args, importance_keys=list(importance_keys), **kwargs
        )

    def find_checkpoints(
        self,
        importance_key=None,
        max_key=None,
        min_key=None,
        ckpt_predicate=None,
        max_num_checkpoints=None,
    ) -> list[Checkpoint]:
        """Find as ``Checkpointer`` does; NaN and infinity are never the best."""
        key = max_key or min_key

        def is_ranked(checkpoint):
            value = checkpoint.meta.get(key, 0.0) if key else 0.0
            is_asked = ckpt_predicate is None or ckpt_predicate(checkpoint)
            return is_asked and math.isfinite(value)

        return super().find_checkpoints(
            importance_key, max_key, min_key, is_ranked, max_num_checkpoints
        )

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


def remove_unfinished(folder: str | Path) -> None:
    """Delete what is left of checkpoints that were cut off.

    Arguments
    ---------
    folder : str
        Of the checkpoints. No process may be saving there.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "CKPT+cut_off").mkdir()
    >>> remove_unfinished(folder)
    >>> list(folder.iterdir())
    []
    """
    for path in Path(folder).glob(FOLDERS):
        if not (path / WHOLE).exists():
            shutil.rmtree(path)
