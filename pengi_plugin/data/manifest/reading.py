"""A manifest in, its rows out."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pengi_plugin.data.manifest.arrow import TWICE, open_arrow, text
from pengi_plugin.data.manifest.form import Fault, manifest_path
from pengi_plugin.data.manifest.prepared import recorded_root
from pengi_plugin.data.manifest.rows import Part, Rows


def read_manifest(
    path: str | Path, corpus: str, data_root: str | Path | None = None
) -> Rows:
    """Read a SpeechBrain manifest, JSON or CSV, its texts literally.

    Its rows are converted once, see ``data.manifest.arrow``, and then mapped into
    memory: millions are there at once.

    Arguments
    ---------
    path : str
        The file; see ``data.table.read_table``.
    corpus : str
        Name of the corpus, the first part of its rows' IDs.
    data_root : str
        What ``{data_root}`` or ``$data_root`` stands for where a ``wav`` begins with
        it; None: what ``prepared.json`` beside the manifest says, else the
        manifest's folder. Other relative paths are relative to the manifest.

    Returns
    -------
    rows : Rows
        ``corpus/ID`` -> row, with ``id`` and ``corpus`` added.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no manifest, an ID is there twice, a row lacks ``wav``,
        ``duration`` or ``task``, or its duration is no positive number of seconds.
    """
    rows, faults = read_rows(path, corpus, data_root)
    if faults:
        more = f" {len(faults) - 1} more rows are wrong." if len(faults) > 1 else ""
        raise ValueError(faults[0].message + more)
    return rows


def read_manifests(paths: Iterable[str | Path]) -> list[dict]:
    """Read manifests one after the other; each row also has its ``split``.

    Arguments
    ---------
    paths : list of str
        ``<manifest folder>/<split>.json``; ``.csv`` is read where that is there
        instead. The folder's name is that of the corpus.

    Returns
    -------
    rows : list of dict

    Raises
    ------
    FileNotFoundError, ValueError
        As of ``manifest_path`` and ``read_manifest``.
    """
    rows = []
    for path in map(Path, paths):
        found = manifest_path(path.parent, path.stem)
        several = read_manifest(found, path.parent.name).values()
        rows += [{**row, "split": path.stem} for row in several]
    return rows


def read_rows(
    path: str | Path, corpus: str, data_root: str | Path | None = None
) -> tuple[Rows, list[Fault]]:
    """Read the rows of a manifest that are right, and what is wrong with the others.

    Arguments are those of ``read_manifest``.

    Returns
    -------
    rows : Rows
        ``corpus/ID`` -> row; of rows of the same ID the first.
    faults : list of Fault
        One of each other row.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is not there, or no manifest.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no manifest {path}; prepare the corpus first (pengi prepare)."
        )
    if data_root is None:
        data_root = recorded_root(path.parent)
    file = open_arrow(path)
    rows = Rows([Part(file, corpus, str(path.parent), str(data_root))])
    is_right = np.concatenate(
        [np.zeros(0, bool), *(column.is_null() for column in file.column("fault"))]
    )
    if is_right.all():
        return rows, []
    wrong = np.flatnonzero(~is_right)
    faults = [
        _fault(f"{corpus}/{text(name)}", text(fault), path)
        for name, fault in file.rows(wrong, ("ID", "fault"))
    ]
    return rows.select(is_right), faults


def _fault(row_id: str, fault: str, path: Path) -> Fault:
    if fault == TWICE:
        message = f"The ID {row_id!r} is in {path} twice; give each row its own."
        return Fault("duplicate ID", row_id, message)
    return Fault("row", row_id, f"Row {row_id!r} of {path} {fault}")
