"""Answers as Ray Data wrote them in; the parts of an ``Output``, each whole, out.

Ray's rows are recordings: an id, which is the recording's index in the list, and its
rows as JSON, which keeps every number and name as it is. Ray writes them in files of
its own, in any order, each beside a checkpoint with the ids that it holds::

    ray/recordings.parquet                id, path
    ray/checkpoint/WRITE_TASK.parquet     id
    ray/answers/WRITE_TASK-0.parquet      id, rows
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow
from pyarrow import parquet

from pengi_plugin.annotation.output import Output, write_part
from pengi_plugin.storage.atomic import new_file

ANSWERS, CHECKPOINT, RECORDINGS = "answers", "checkpoint", "recordings.parquet"


def write_recordings(output: Output, parts: Sequence[int]) -> Path:
    """Write the list of the recordings of some parts for Ray to read; return it."""
    ids = _ids_of(output, parts)
    paths = [os.fsencode(output.paths[n]) for n in ids]  # not all names are UTF-8
    table = pyarrow.table({"id": ids, "path": pyarrow.array(paths, pyarrow.binary())})
    output.work_folder.mkdir(exist_ok=True)
    path = output.work_folder / RECORDINGS
    with new_file(path) as unfinished:
        parquet.write_table(table, unfinished)
    return path


def answered(
    ids: pyarrow.Array, paths: Sequence[str], rows: Iterable[Mapping]
) -> pyarrow.Table:
    """Return the table that Ray writes: the rows of each recording as JSON.

    Example
    -------
    >>> rows = [{"path": "a", "end": 1.0}, {"path": "a", "end": 2.0}]
    >>> answered(pyarrow.array([7]), ["a"], rows).to_pylist()
    [{'id': 7, 'rows': '[{"path": "a", "end": 1.0}, {"path": "a", "end": 2.0}]'}]
    """
    of_path = {path: [] for path in paths}
    for row in rows:
        of_path[row["path"]].append(row)
    return pyarrow.table({"id": ids, "rows": list(map(json.dumps, of_path.values()))})


class Answers:
    """What Ray has answered so far.

    A file counts where its checkpoint is committed, and a recording that is in two
    files once: tasks that outlive a killed driver may write what is done again.

    Arguments
    ---------
    output : Output
        Into whose parts the answers go.
    """

    def __init__(self, output: Output):
        self.output = output
        folder = output.work_folder
        self.files = [
            path
            for path in sorted((folder / ANSWERS).glob("*.parquet"))
            if (folder / CHECKPOINT / f"{path.stem.rsplit('-', 1)[0]}.parquet").exists()
        ]
        #: Which of the files has a recording's rows; -1: none.
        self.file_of = np.full(len(output.paths), -1, np.int32)
        for number, path in enumerate(self.files):
            ids = _read(path, ["id"])["id"].to_numpy()
            self.file_of[ids] = number

    def n_missing(self, parts: Sequence[int]) -> int:
        """Return how many recordings of some parts are not answered."""
        return int((self.file_of[_ids_of(self.output, parts)] < 0).sum())

    def write_parts(self, parts: Sequence[int]) -> None:
        """Write parts whose recordings are all answered."""
        read = lru_cache(4)(self._rows_of_file)
        for part in parts:
            ids = _ids_of(self.output, [part])
            rows = (
                row
                for n in ids.tolist()
                for row in json.loads(read(int(self.file_of[n]))[n])
            )
            write_part(self.output.path_of(part), rows)

    def _rows_of_file(self, number: int) -> dict[int, str]:
        table = _read(self.files[number], ["id", "rows"])
        return dict(zip(*table.to_pydict().values(), strict=True))


def _ids_of(output: Output, parts: Sequence[int]) -> np.ndarray:
    """Return the indices in the list of the recordings of parts [recording]."""
    size, n = output.part_size, len(output.paths)
    return np.concatenate(
        [np.arange(part * size, min((part + 1) * size, n)) for part in parts]
    )


def _read(path: Path, columns: list[str]) -> pyarrow.Table:
    try:
        return parquet.read_table(path, columns=columns)
    except (OSError, pyarrow.ArrowInvalid) as error:
        folder = path.parent.parent
        raise ValueError(
            f"{path} is damaged ({error}). Remove {folder}: its recordings are "
            "answered again; parts that are there stay."
        ) from error
