"""The rows of a corpus in, a folder of manifests out, written once and whole."""

import csv
import io
import itertools
import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from pengi_plugin.data.manifest.form import SPLITS
from pengi_plugin.data.manifest.prepared import (
    LEFT_OUT,
    RECORD,
    left_out_state,
    read_record,
)
from pengi_plugin.storage.atomic import new_file, write_file

logger = logging.getLogger(__name__)


def write_manifests(
    folder: str | Path,
    splits: Mapping[str, Mapping[str, Mapping] | Iterable[tuple[str, Mapping]]],
    data_root: str | Path,
    arguments: Mapping,
    left_out: Mapping[str, str],
) -> None:
    """Write the manifests of a corpus, each whole or not at all, the record last.

    Arguments
    ---------
    folder : str
        Where to; made if it is not there.
    splits : dict
        Those of ``train``, ``valid`` and ``test`` that the corpus has -> ID -> row;
        or -> pairs of ID and row, which need not all be in memory.
    data_root : str
        What ``{data_root}`` in the rows' ``wav`` stands for.
    arguments : dict
        All that the manifests depend on.
    left_out : dict
        Path -> why it is in none of them.

    Raises
    ------
    ValueError
        If nothing is left to train on, or, in a corpus without training split, to
        test.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Manifests of two preparations must never be taken for those of one.
    _remove_manifests(folder, but=splits)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("wav", "reason"), *sorted(left_out.items())])
    write_file(folder / LEFT_OUT, text.getvalue())
    if left_out:
        path, reason = next(iter(sorted(left_out.items())))
        logger.warning(
            "%d files are left out, for instance %s (%s); all of them: %s.",
            *(len(left_out), path, reason, folder / LEFT_OUT),
        )
    pairs = {
        split: iter(rows.items() if isinstance(rows, Mapping) else rows)
        for split, rows in splits.items()
    }
    first = "train" if "train" in splits else next(iter(splits))
    row = next(pairs[first], None)
    if row is None:
        use = "training" if first == "train" else f"the {first} split"
        raise ValueError(
            f"No clip under {data_root} can be used for {use}; see "
            f"{folder / LEFT_OUT} for the reasons."
        )
    pairs[first] = itertools.chain([row], pairs[first])
    sizes = {
        split: _write_rows(folder / f"{split}.json", rows)
        for split, rows in pairs.items()
    }
    record = {
        "data_root": str(Path(data_root).resolve()),
        "arguments": arguments,
        "splits": list(splits),
        **left_out_state(left_out, data_root),
    }
    write_file(folder / RECORD, json.dumps(record, indent=1))
    written = ", ".join(f"{n} {split}" for split, n in sizes.items())
    logger.info("Wrote %s: %s rows.", folder, written)


def _remove_manifests(folder: Path, but: Iterable[str]) -> None:
    """Remove the record of an earlier preparation, and its splits but these."""
    try:
        earlier = read_record(folder).get("splits", ())
    except ValueError:  # it is damaged, which is why the corpus is prepared again
        earlier = SPLITS
    (folder / RECORD).unlink(missing_ok=True)
    for split in set(earlier).intersection(SPLITS).difference(but):
        (folder / f"{split}.json").unlink(missing_ok=True)
        (folder / f"{split}.json.arrow").unlink(missing_ok=True)


def _write_rows(path: Path, rows: Iterable[tuple[str, Mapping]]) -> int:
    """Write a manifest row by row, as ``json.dumps(..., indent=1)``; count them."""
    n_row = 0
    with new_file(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        for row_id, row in rows:
            file.write(",\n" if n_row else "{\n")
            file.write(json.dumps({row_id: row}, indent=1)[2:-2])
            n_row += 1
        file.write("\n}" if n_row else "{}")
    return n_row
