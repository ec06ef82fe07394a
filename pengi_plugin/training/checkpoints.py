"""Checkpoints of a run: saved by SpeechBrain's Checkpointer, never half of one."""

from speechbrain.utils.checkpoints import Checkpoint, Checkpointer
from speechbrain.utils.distributed import main_process_only

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
    >>> from torch import nn
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
