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

    A checkpoint in mid-epoch holds ``of_all``, the sums of all processes, which the
    main process takes up, so that the log of a run that goes on from there is about
    the whole epoch.

    Example
    -------
    >>> sums = EpochSums()
    >>> sums.add(["captioning", "captioning"], [3.0, 1.0], [2, 2])
    >>> sums.tasks
    {'captioning': [4.0, 4.0]}
    """

    def __init__(self):
        self.is_recovered = False
        self.of_all: dict | None = None  # None: this process is the only one
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

    def state(self) -> dict:
        """Return the sums as a checkpoint holds them."""
        return {"tasks": self.tasks, "word": self.word, "n_skipped": self.n_skipped}

    @mark_as_saver
    def _save(self, path):
        state = self.state() if self.of_all is None else self.of_all
        Path(path).write_text(json.dumps(state), encoding="utf-8")

    @mark_as_loader
    def _load(self, path, end_of_epoch):
        if not end_of_epoch and if_main_process():
            self.__dict__.update(json.loads(Path(path).read_text(encoding="utf-8")))
            self.is_recovered = True


def merge(states: Sequence[dict]) -> dict:
    """Add the sums of several processes up.

    All processes skip the same updates, so these are not added.

    Example
    -------
    >>> one = {"tasks": {"a": [1.0, 2]}, "word": [0.5, 1], "n_skipped": 1}
    >>> two = {"tasks": {"a": [3.0, 2]}, "word": [0.5, 1], "n_skipped": 1}
    >>> merge([one, two])
    {'tasks': {'a': [4.0, 4]}, 'word': [1.0, 2], 'n_skipped': 1}
    """
    tasks: dict[str, list[float]] = {}
    for state in states:
        for task, (loss, n_token) in state["tasks"].items():
            before = tasks.get(task, [0.0, 0])
            tasks[task] = [before[0] + loss, before[1] + n_token]
    word = [sum(values) for values in zip(*(state["word"] for state in states))]
    n_skipped = max(state["n_skipped"] for state in states)
    return {"tasks": tasks, "word": word, "n_skipped": n_skipped}
