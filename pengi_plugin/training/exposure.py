"""Rows in, how often a task is trained on; runs that see a task as often as another.

Where a clip has rows of several tasks, one of them is sampled in each epoch. A task
among others is then trained on less than the same task alone in as many epochs.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping


def task_share(
    rows: Mapping[str, Mapping],
    task: str,
    task_weights: Mapping[str, float] | None = None,
    shares: Mapping[str, float] | None = None,
) -> float:
    """Return which share of the sampled rows is of a task.

    Arguments
    ---------
    rows : dict
        ID -> manifest row, as ``data.dataset.ClipDataset`` takes them.
    task : str
        Its name.
    task_weights : dict
        Task -> weight of its rows, see ``ClipDataset``.
    shares : dict
        Corpus -> its share of an epoch's clips; None: every clip once.

    Example
    -------
    >>> caption, question = {"task": "captioning"}, {"task": "question_answering"}
    >>> rows = [caption | {"wav": "a"}, question | {"wav": "a"}, caption | {"wav": "b"}]
    >>> task_share(dict(enumerate(rows)), "captioning")
    0.75
    """
    weights = defaultdict(Counter)  # clip -> task -> weight of its rows
    for row in rows.values():
        clip = row.get("corpus", ""), str(row["wav"])
        weights[clip][row["task"]] += (task_weights or {}).get(row["task"], 1.0)
    weights = {clip: some for clip, some in weights.items() if some.total() > 0}
    n_clips = Counter(corpus for corpus, _ in weights)
    if len(n_clips) == 1 or not shares:
        shares = n_clips
    total = sum(shares[corpus] for corpus in n_clips)
    return sum(
        shares[corpus] / total / n_clips[corpus] * some[task] / some.total()
        for (corpus, _), some in weights.items()
    )


def check_pairs(hparams: Mapping) -> None:
    """Raise ValueError if several rows are sampled of a clip."""
    if hparams["pairs_per_clip"] != 1:
        raise ValueError(
            "How often a task is seen is known for pairs_per_clip 1; got "
            f"{hparams['pairs_per_clip']}. Give --pairs_per_clip 1, or leave run C out "
            "(--runs A B)."
        )


def equal_exposure(hparams: Mapping, rows: Mapping[str, Mapping], task: str) -> int:
    """Return in how many epochs a task is seen as often as alone.

    Arguments
    ---------
    hparams : dict
        Of a run on all rows: ``number_of_epochs`` of a run on the task alone,
        ``task_weights``, ``pairs_per_clip`` and ``corpora`` with their ``share``.
    rows : dict
        ID -> manifest row to train on.
    task : str
        Its name.

    Raises
    ------
    ValueError
        If several rows are sampled of a clip, or none of the task.
    """
    check_pairs(hparams)
    corpora = hparams["corpora"].items()
    shares = {name: corpus["share"] for name, corpus in corpora}
    among_all = task_share(rows, task, hparams["task_weights"], shares)
    if not among_all:
        raise ValueError(f"No row to train on is of the task {task!r}.")
    weights = hparams["task_weights"] or {}
    sampled = [row for row in rows.values() if weights.get(row["task"], 1.0) > 0]
    # Alone, each of its clips is seen once an epoch, and no other.
    clips = {(row.get("corpus", ""), str(row["wav"])) for row in sampled}
    own = {
        (row.get("corpus", ""), str(row["wav"]))
        for row in rows.values()
        if row["task"] == task
    }
    return round(hparams["number_of_epochs"] * len(own) / len(clips) / among_all)


def train_longer(hparams: dict, number_of_epochs: int) -> None:
    """Change the length of a loaded run that has not started."""
    hparams["number_of_epochs"] = number_of_epochs
    hparams["epoch_counter"].limit = number_of_epochs
