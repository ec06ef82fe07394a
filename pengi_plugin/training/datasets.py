"""A run's rows in; data sets of their clips, checked before it trains, out."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pengi_plugin.data.batch import PairBatch
from pengi_plugin.data.dataset import ClipDataset
from pengi_plugin.data.file_state import file_state
from pengi_plugin.data.manifest import Rows, as_rows
from pengi_plugin.tasks import extend
from pengi_plugin.training.base import TrainingBrain
from pengi_plugin.training.identity import is_under_way, recorded
from pengi_plugin.training.once import once
from pengi_plugin.training.processes import share

logger = logging.getLogger(__name__)


def make_dataset(
    hparams: dict,
    rows: Mapping[str, Mapping],
    train: bool = False,
    absent: Sequence[int] | None = None,
) -> ClipDataset:
    """Return a data set of the clips of manifest rows.

    Arguments
    ---------
    hparams : dict
        With ``model``, ``tasks``, ``task_weights``, ``pairs_per_clip``,
        ``valid_pairs_per_clip``, ``max_unreadable_share`` and ``seed``.
    rows : dict
        ID -> manifest row.
    train : bool
        Whether rows and crops are sampled anew in each epoch.
    absent : list of int
        See ``ClipDataset``; None: rows and files are looked at.
    """
    model = hparams["model"]
    n_train_pair, n_pair = hparams["pairs_per_clip"], hparams["valid_pairs_per_clip"]
    return ClipDataset(
        rows,
        model["sample_rate"],
        model["clip_seconds"],
        model["tokenizer"],
        model["answer_end"],
        templates=extend(hparams["tasks"]),
        pairs_per_clip=n_train_pair if train else n_pair,
        random_crop=train,
        task_weights=hparams["task_weights"],
        seed=hparams["seed"],
        max_unreadable_share=hparams["max_unreadable_share"],
        absent=absent,
    )


def check_rows(
    hparams: dict, rows: Mapping[str, Mapping], brain_class: type[TrainingBrain]
) -> dict[str, np.ndarray]:
    """Look once at all rows and files of a run, until rows or settings change.

    Arguments are those of ``run.fit``.

    Returns
    -------
    absent : dict
        ``train`` and ``valid`` -> indices of the clips whose files are missing.

    Raises
    ------
    FileNotFoundError, ValueError
        If files are missing, or the model cannot take a row.
    """
    rows = {split: as_rows(some) for split, some in rows.items()}
    key = {
        "rows": {split: some.identity() for split, some in rows.items()},
        "settings": recorded(hparams["save_folder"], "settings"),
        "max_unreadable_share": hparams["max_unreadable_share"],
        "brain": f"{brain_class.__module__}.{brain_class.__qualname__}",
    }

    def check() -> dict[str, np.ndarray]:
        found = {}
        for split in ("train", "valid"):
            dataset = make_dataset(hparams, rows[split], split == "train")
            brain_class.check(hparams, dataset)
            found[split] = np.array(sorted(dataset.unreadable), np.int64)
        # All test rows are scored, so all their files must be there when a run starts.
        test_rows = rows["test"]
        if is_under_way(hparams["save_folder"]):
            test_rows = rows_with_files(test_rows)
        if test_rows:
            whole = {**hparams, "max_unreadable_share": 0.0}
            brain_class.check(hparams, make_dataset(whole, test_rows))
        return found

    return once(Path(hparams["save_folder"], "checked_rows"), key, check)


def rows_with_files(rows: Rows) -> Rows:
    """Return the test rows whose audio files are there; warn of the others.

    Files that go while a run trains must not keep it from going on.
    """
    is_there = np.array([bool(file_state(w)) for (w,) in rows.cells("wav")], bool)
    gone = list(dict.fromkeys(wav for (wav,) in rows.select(~is_there).cells("wav")))
    if gone:
        logger.warning(
            "%d audio files of the test have gone since the run started, the first is "
            "%s. Put them back before the test.",
            *(len(gone), gone[0]),
        )
    return rows.select(is_there)


def sample_rows(dataset: ClipDataset, n_clip: int) -> PairBatch | None:
    """Return about ``n_clip`` clips at equal distances, with one row each.

    Of these, the share of this process; None for no clip.
    """
    step = max(1, len(dataset) // max(1, n_clip))
    chosen = range(0, len(dataset), step) if n_clip > 0 else ()
    items = [(number, dataset[index]) for number, index in share([*enumerate(chosen)])]
    # The first clip's first row, the second one's second: rows of all tasks.
    items = [
        {**item, "pairs": [item["pairs"][number % len(item["pairs"])]]}
        for number, item in items
    ]
    return PairBatch(items) if items else None
