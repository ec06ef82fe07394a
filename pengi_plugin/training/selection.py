"""Rows of all corpora in; without test recordings and other tasks, in splits, out."""

import logging
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from pengi_plugin.data.manifest import Rows, as_rows, original_of
from pengi_plugin.data.overlap import (
    HeldOut,
    count_overlaps,
    find_overlaps,
    overlap_table,
    read_sources,
)
from pengi_plugin.training.mixture import split_names

logger = logging.getLogger(__name__)


def leave_out_test_clips(
    rows: dict[str, dict],
    test_sets: Iterable[tuple[str, Mapping]] = (),
    keep: bool = False,
) -> None:
    """Remove training and validation rows of test recordings, and log how many.

    Arguments
    ---------
    rows : dict
        Split -> ID -> row; ``train`` and ``valid`` are compared with ``test``.
    test_sets : iterable of (str, dict)
        Further ones: name and rows.
    keep : bool
        Whether they are counted and stay.

    Raises
    ------
    ValueError
        If all training rows of a corpus would be removed.
    """
    held_out = HeldOut()
    for row in rows["test"].values():
        held_out.add([row], row["corpus"])
    for name, some in test_sets:
        held_out.add(some.values(), name)
    kept = {}
    for split, words in (("train", "training"), ("valid", "validation")):
        some = as_rows(rows.get(split, {}))
        kept[split] = without_overlaps(some, held_out, words, keep)
    emptied = sorted(_corpora(rows["train"]) - _corpora(kept["train"]))
    if emptied:
        raise ValueError(
            f"All training rows of {', '.join(emptied)} hold recordings of test sets. "
            "Leave the corpus out of corpora or the test set out of held_out, or train "
            "on test clips by keep_overlaps: True."
        )
    rows |= kept


def _corpora(rows: Mapping[str, Mapping]) -> set[str]:
    """Return the names of the corpora that have a row."""
    codes, names = as_rows(rows).categories("corpus")
    return {names[code] for code in np.unique(codes)}


def without_overlaps(rows: Rows, held_out: HeldOut, words: str, keep: bool) -> Rows:
    """Return the rows without those of held-out recordings, and log how many."""
    overlaps = find_overlaps(rows, held_out)
    if not overlaps:
        logger.info("No %s row holds a recording of a test set.", words)
        return rows
    column = "rows kept" if keep else "rows left out"
    logger.warning(
        "%d of %d %s rows hold recordings of test sets and are %s:\n%s",
        *(len(overlaps), len(rows), words),
        "kept (keep_overlaps)" if keep else "left out",
        "\n".join(overlap_table(count_overlaps(rows, overlaps), column)),
    )
    if keep:
        return rows
    is_kept = np.ones(len(rows), bool)
    is_kept[list(overlaps)] = False
    return rows.select(is_kept)


def keep_tasks(
    rows: dict[str, Mapping],
    tasks: Sequence[str] | str | None,
    known: Iterable[str] = (),
) -> dict[str, Mapping]:
    """Leave out the rows of all tasks but these; None leaves out none.

    Raises
    ------
    ValueError
        If a task is neither ``known`` nor of any row, or no row of a split is of them.
    """
    if tasks is None:
        return rows
    tasks = split_names(tasks)
    rows = {split: as_rows(some) for split, some in rows.items()}
    codes = {split: some.categories("task") for split, some in rows.items()}
    found = {
        split: {names[code] for code in np.unique(of_row)}
        for split, (of_row, names) in codes.items()
    }
    unknown = sorted(set(tasks).difference(known, *found.values()))
    if unknown:
        raise ValueError(
            f"keep_tasks names the unknown tasks {unknown}; known are {sorted(known)}."
        )
    kept = {
        split: rows[split].select(np.isin(np.array(names, object), tasks)[of_row])
        if len(of_row)
        else rows[split]
        for split, (of_row, names) in codes.items()
    }
    for split, some in kept.items():
        if rows[split] and not some:
            raise ValueError(
                f"keep_tasks: {list(tasks)} are tasks of no row of the {split} data, "
                f"whose tasks are {sorted(found[split])}."
            )
    return kept


def hold_out_valid(rows: dict[str, dict], share: float) -> None:
    """Move a share of the training clips to validation if there is no row for it.

    A recording is moved if a checksum of its source, or else of its name, is among the
    lowest ``share`` of all possible ones: all clips of a source stay together (also of
    sources that a row names together), and the same ones are moved on every machine
    and in any order of the rows.

    Raises
    ------
    ValueError
        If nothing would be left for one of the two.
    """
    if rows["valid"]:
        return
    train = as_rows(rows["train"])
    first = first_recordings(_named(train))
    checksums = np.fromiter(
        (zlib.crc32(first[recordings_of(row)[0]].encode()) for row in _named(train)),
        dtype=np.uint32,
        count=len(train),
    )
    is_moved = checksums < share * 2**32
    n_moved = int(is_moved.sum())
    if not n_moved or n_moved == len(train):
        raise ValueError(
            f"There are no validation rows, and valid_share={share:g} of the "
            f"{len(train)} training rows is {n_moved}. Add valid.json to a "
            "corpus, or change valid_share."
        )
    rows["train"] = train.select(~is_moved)
    moved = train.select(is_moved)
    rows["valid"] = moved.select(sorted(range(n_moved), key=list(moved).__getitem__))
    logger.warning(
        "No corpus has validation rows: %d of %d training rows are used instead "
        "(valid_share=%g, by a checksum of the recording).",
        *(n_moved, len(train), share),
    )


def _named(rows: Rows) -> Iterator[dict]:
    """Yield what names the recording of each row."""
    names = ("wav", "source", "original")
    return (dict(zip(names, cells, strict=True)) for cells in rows.cells(*names))


def recordings_of(row: Mapping) -> list[str]:
    """Return what a row's recording is called, wherever its file lies.

    Example
    -------
    >>> recordings_of({"source": "youtube:ab:30"}), recordings_of({"wav": "/x/a.wav"})
    (['youtube:ab'], ['a.wav'])
    """
    sources = read_sources(row.get("source") or "")
    return [source.recording for source in sources] or [
        os.path.basename(original_of(row))
    ]


def first_recordings(rows: Iterable[Mapping]) -> dict[str, str]:
    """Return name of a recording -> the name that stands for it.

    Names of one recording stand in one row, such as those of its archive and of its
    corpus; the first name that was read stands for all names that rows connect.

    Example
    -------
    >>> rows = [{"source": "clotho:b freesound:1"}, {"source": "freesound:1"}]
    >>> first_recordings(rows)
    {'clotho:b': 'clotho:b', 'freesound:1': 'clotho:b'}
    """
    above: dict[str, str] = {}

    def find(name: str) -> str:
        while above.setdefault(name, name) != name:
            name = above[name]
        return name

    for row in rows:
        roots = sorted({find(name) for name in recordings_of(row)})
        above |= dict.fromkeys(roots, roots[0])
    return {name: find(name) for name in above}
