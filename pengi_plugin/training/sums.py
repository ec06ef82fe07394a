"""The losses of an epoch's answers in, their sums per task out, kept in checkpoints."""

import json
from collections.abc import Sequence
from pathlib import Path

from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from speechbrain.utils.distributed import if_main_process


@register_checkpoint_hooks
class EpochSums:
    """What is summed over an epoch, on this process.

    A checkpoint in mid-epoch holds the sums of the main process, so that the log of a
    run that goes on from there is about the whole epoch.

    Example
    -------
    >>> sums = EpochSums()
    >>> sums.add(["captioning", "captioning"], [3.0, 1.0], [2, 2])
    >>> sums.tasks
    {'captioning': [4.0, 4.0]}
    """

    def __init__(self):
        self.is_recovered = False
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.tasks: dict[str, list[float]] = {}  # task -> [loss, tokens]
        self.word: list[float] = [0.0, 0.0]  # [loss of the word head, batches]
        self.n_skipped = 0  # updates

    def start(self) -> None:
        """Begin an epoch, or go on with the one that a checkpoint was made in."""
        if not self.is_recovered:
            self.clear()
        self.is_recovered = False

    def add(
        self, tasks: Sequence[str], losses: Sequence[float], n_tokens: Sequence[float]
    ) -> None:
        """Add the loss of each answer, and its number of tokens, to its task's."""
        for task, loss, n_token in zip(tasks, losses, n_tokens, strict=True):
            total = self.tasks.setdefault(task, [0.0, 0.0])
            total[0] += loss
            total[1] += n_token

    def add_word(self, loss: float) -> None:
        """Add the loss of the word head in a batch."""
        self.word = [self.word[0] + loss, self.word[1] + 1]

    @mark_as_saver
    def _save(self, path):
        state = {"tasks": self.tasks, "word": self.word, "n_skipped": self.n_skipped}
        Path(path).write_text(json.dumps(state), encoding="utf-8")

    @mark_as_loader
    def _load(self, path, end_of_epoch):
        if not end_of_epoch and if_main_process():
            self.__dict__.update(json.loads(Path(path).read_text(encoding="utf-8")))
            self.is_recovered = True
