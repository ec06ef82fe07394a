"""Arrow files of rows in; one sequence of rows of several corpora out, ID -> row.

What is chosen of them, and in which order, is an array of numbers: millions of rows
need no memory of their own, and processes share what they read.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pengi_plugin.data.manifest.arrow import (
    N_BATCH,
    TYPED,
    ArrowFile,
    number_of,
    raw,
    text,
    write_arrow,
)
from pengi_plugin.data.manifest.form import resolve

#: What is read of an Arrow file for a whole row.
READ = ("ID", *TYPED, "fields")


@dataclass(frozen=True)
class Part:
    """All rows of one Arrow file.

    Arguments
    ---------
    file : ArrowFile
        The rows.
    corpus : str
        Its name, the first part of the rows' IDs; None: rows name their own, and
        their IDs and paths are whole.
    folder : str
        Relative paths begin there.
    data_root : str
        What ``{data_root}`` stands for.
    """

    file: ArrowFile
    corpus: str | None = None
    folder: str = ""
    data_root: str = ""

    def id_of(self, name: bytes) -> str:
        """Return a row's ID."""
        return text(name) if self.corpus is None else f"{self.corpus}/{text(name)}"

    def path_of(self, wav: bytes) -> str:
        """Return the path of an audio file."""
        if self.corpus is None:
            return text(wav)
        return resolve(text(wav), self.folder, self.data_root)

    def row_of(self, name, wav, duration, task, source, original, fields) -> dict:
        """Return a row of what is read of it; see ``READ``."""
        row = {"wav": None if wav is None else self.path_of(wav), "duration": duration}
        row |= {"task": text(task), "source": text(source), "original": text(original)}
        row = {key: value for key, value in row.items() if value is not None}
        row |= json.loads(fields)
        if self.corpus is not None:
            row |= {"id": self.id_of(name), "corpus": self.corpus}
        return row

    def cell_of(self, name: str, value: bytes | float | None):
        """Return a value of one column as a row has it."""
        if isinstance(value, bytes):
            return self.path_of(value) if name == "wav" else text(value)
        return value

    def identity(self) -> list:
        """Return what tells these rows from others: content, names and paths."""
        return [self.file.key["digest"], self.corpus, self.folder, self.data_root]


class Rows(Mapping):
    """Manifest rows, ID -> row, in order, each made when it is asked for.

    Arguments
    ---------
    parts : list of Part
        Where they are.
    numbers : numpy.ndarray
        Which rows of the parts, counted through all of them; None: all.

    ``rows[ID]`` searches all IDs: for more than a few rows take ``values()``,
    ``items()`` or ``at(position)``.

    Example
    -------
    >>> rows = as_rows({"a/1": {"task": "x", "n": [1]}, "a/2": {"task": "y"}})
    >>> rows["a/1"], [*rows], rows.at(1), [*rows.select([1]).values()]
    ({'task': 'x', 'n': [1]}, ['a/1', 'a/2'], {'task': 'y'}, [{'task': 'y'}])
    """

    def __init__(self, parts: Iterable[Part], numbers: np.ndarray | None = None):
        self.parts = list(parts)
        sizes = [0, *(len(part.file) for part in self.parts)]
        self.starts = np.cumsum(sizes)
        if numbers is None:
            numbers = np.arange(self.starts[-1])
        # Half the memory, for all but billions of rows.
        is_small = self.starts[-1] <= np.iinfo(np.int32).max
        self.numbers = numbers.astype(np.int32 if is_small else np.int64, copy=False)

    def __len__(self):
        return len(self.numbers)

    def __iter__(self) -> Iterator[str]:
        return (part.id_of(name) for part, (name,) in self._read(("ID",)))

    def __getitem__(self, row_id: str) -> dict:
        position = self.position(row_id)
        if position is None:
            raise KeyError(row_id)
        return self.at(position)

    def __contains__(self, row_id: object) -> bool:
        return isinstance(row_id, str) and self.position(row_id) is not None

    def values(self) -> Iterable[dict]:
        """Return all rows, to be gone through as often as wanted."""
        return _Each(self, lambda part, cells: part.row_of(*cells))

    def items(self) -> Iterable[tuple[str, dict]]:
        """Return all IDs and rows, to be gone through as often as wanted."""
        return _Each(
            self, lambda part, cells: (part.id_of(cells[0]), part.row_of(*cells))
        )

    def at(self, position: int) -> dict:
        """Return the row at a position."""
        return self.item_at(position)[1]

    def item_at(self, position: int) -> tuple[str, dict]:
        """Return the ID and the row at a position."""
        part, number = self._part_of(position)
        cells = part.file.row(number, READ)
        return part.id_of(cells[0]), part.row_of(*cells)

    def position(self, row_id: str) -> int | None:
        """Return where a row is; None if it is not there."""
        for part, start in zip(self.parts, self.starts, strict=False):
            prefix = "" if part.corpus is None else f"{part.corpus}/"
            if not row_id.startswith(prefix):
                continue
            name = raw(row_id.removeprefix(prefix))
            for column in part.file.column("ID"):
                found = pc.index(column, name).as_py()
                if found >= 0:
                    where = np.flatnonzero(self.numbers == start + found)
                    if len(where):
                        return int(where[0])
                start += len(column)
        return None

    def select(self, positions) -> "Rows":
        """Return the rows at some positions, or where a mask is true."""
        positions = np.asarray(positions)
        if not len(positions):
            positions = positions.astype(np.int64)
        return Rows(self.parts, self.numbers[positions])

    def cells(self, *names: str) -> Iterator[tuple]:
        """Yield the values of some columns of ``TYPED``, row by row; None for none."""
        for part, values in self._read(names):
            yield tuple(map(part.cell_of, names, values))

    def categories(self, name: str) -> tuple[np.ndarray, list[str]]:
        """Return of each row the index of its ``task`` or ``corpus``, and their names.

        Returns
        -------
        codes : numpy.ndarray
            [row]
        names : list of str
            In the order in which they first come in the parts.
        """
        names: dict[str, int] = {}
        codes = [np.zeros(0, np.int32)]
        for part in self.parts:
            if name == "corpus" and part.corpus is not None:
                code = names.setdefault(part.corpus, len(names))
                codes.append(np.full(len(part.file), code, np.int32))
                continue
            for column in part.file.column("fields" if name == "corpus" else name):
                coded = column.dictionary_encode()
                known = [
                    names.setdefault(_category(name, value), len(names))
                    for value in [*coded.dictionary.to_pylist(), None]
                ]
                found = coded.indices.fill_null(len(known) - 1).to_numpy()
                codes.append(np.asarray(known, np.int32)[found])
        return np.concatenate(codes)[self.numbers], list(names)

    def clips(self) -> np.ndarray:
        """Return of each row a number that rows of one corpus and file share [row]."""
        # Files of the same name in two folders are two.
        folders = [
            number_of(raw(part.folder), raw(part.data_root)) for part in self.parts
        ]
        sizes = [len(part.file) for part in self.parts]
        found = self._numbers("clip")
        found ^= np.repeat(np.array(folders, dtype=np.uint64), sizes)
        found = found[self.numbers]
        codes, names = self.categories("corpus")
        corpora = np.array([number_of(raw(name)) for name in names], dtype=np.uint64)
        found ^= corpora[codes]
        return found

    def digest(self) -> str:
        """Return a digest of all rows in any order, wherever their files lie."""
        codes, names = self.categories("corpus")
        digests = self._numbers("digest")[self.numbers]
        sums = {
            name: int(digests[codes == code].sum(dtype=np.uint64))
            for code, name in enumerate(names)
        }
        told = json.dumps(sorted(pair for pair in sums.items() if pair[1]))
        return f"{number_of(told.encode()):016x}"

    def identity(self) -> list:
        """Return what tells these rows from others: content, choice and paths."""
        chosen = number_of(np.ascontiguousarray(self.numbers).tobytes())
        return [[part.identity() for part in self.parts], len(self), chosen]

    def _numbers(self, name: str) -> np.ndarray:
        parts = [part.file.numbers(name).astype(np.uint64) for part in self.parts]
        return np.concatenate([np.zeros(0, np.uint64), *parts])

    def _part_of(self, position: int) -> tuple[Part, int]:
        number = int(self.numbers[position])
        index = int(np.searchsorted(self.starts, number, side="right")) - 1
        return self.parts[index], number - int(self.starts[index])

    def _read(self, names: Iterable[str]) -> Iterator[tuple[Part, tuple]]:
        """Yield of each row its part and the values of some columns."""
        for begin in range(0, len(self), N_BATCH):
            some = self.numbers[begin : begin + N_BATCH]
            indices = np.searchsorted(self.starts, some, side="right") - 1
            first = 0
            for end in [*(np.flatnonzero(np.diff(indices)) + 1), len(some)]:
                part = self.parts[indices[first]]
                numbers = some[first:end] - self.starts[indices[first]]
                for values in part.file.rows(numbers, names):
                    yield part, values
                first = end


@dataclass(frozen=True)
class _Each:
    """What a function makes of each row, one after another."""

    of: Rows
    function: object

    def __iter__(self):
        return (self.function(part, cells) for part, cells in self.of._read(READ))

    def __len__(self):
        return len(self.of)


def _category(name: str, value: bytes | None) -> str:
    if name == "corpus":  # of a row that names its own
        return "" if value is None else str(json.loads(value).get("corpus", ""))
    return text(value) or ""


def as_rows(rows: Mapping[str, Mapping]) -> Rows:
    """Return rows that are in memory in the form of ``Rows``.

    Arguments
    ---------
    rows : dict
        ID -> row, with whole paths; ``Rows`` are returned as they are.
    """
    if isinstance(rows, Rows):
        return rows
    content = pa.BufferOutputStream()
    pairs = ((str(row_id), _plain(row)) for row_id, row in rows.items())
    write_arrow(content, pairs, {"digest": ""})
    file = ArrowFile(None, content.getvalue())
    told = (file.numbers(name).tobytes() for name in ("digest", "clip"))
    file.key["digest"] = f"{number_of(*told):016x}"
    return Rows([Part(file)])


def _plain(row: Mapping) -> dict:
    return {**row, "wav": str(row["wav"])} if "wav" in row else dict(row)


def concatenate(several: Iterable[Rows]) -> Rows:
    """Return all rows of several, one after another."""
    parts, numbers, n_row = [], [np.zeros(0, np.int64)], 0
    for rows in several:
        parts += rows.parts
        numbers.append(rows.numbers.astype(np.int64) + n_row)
        n_row += int(rows.starts[-1])
    return Rows(parts, np.concatenate(numbers))
