"""Rows in, an Arrow file out, once; the file is then mapped into memory, not read.

Beside ``train.json`` lies ``train.json.arrow``, or in the user's cache folder where
that cannot be written. It holds the same rows: ``ID``, ``wav`` as it is written,
``duration``, ``task`` and ``source`` as columns, all other fields of a row as JSON in
``fields``, what is wrong with it in ``fault``; and two numbers, ``clip`` of its path
and ``digest`` of all else. Texts are UTF-8 in which lone surrogates, which stand for
the bytes of odd file names, are kept. Pages of the file are shared by all processes
of a machine, and by a data loader's workers.

It is taken as long as it was made by this version of the format from the manifest as it
is now, which size and times of change tell; where these differ, or the manifest was
written just before it was read, a digest of its bytes. Else it is made again.
"""

import errno
import hashlib
import json
import logging
import os
import sys
import time
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from pengi_plugin.data.manifest.form import fault_of, normalize_root
from pengi_plugin.data.table import read_table
from pengi_plugin.storage.atomic import new_file

logger = logging.getLogger(__name__)

#: Changed with the columns or what they mean, so that older files are made again.
VERSION = 3

COLUMNS = (
    ("ID", pa.binary()),
    ("wav", pa.binary()),
    ("duration", pa.float64()),
    ("task", pa.binary()),
    ("source", pa.binary()),
    ("original", pa.binary()),
    ("fields", pa.binary()),
    ("fault", pa.binary()),
    ("clip", pa.uint64()),
    ("digest", pa.uint64()),
)

#: Name of a column -> its index.
INDEX_OF = {name: index for index, (name, _) in enumerate(COLUMNS)}

#: Fields of a row that are columns; texts but for the duration.
TYPED = ("wav", "duration", "task", "source", "original")

#: Rows that are in memory while they are written or read one after another.
N_BATCH = 16_384

#: Key of the file's metadata.
KEY = b"pengi_plugin"

#: A manifest that was written fewer seconds ago may be written again without another
#: time of change; its bytes are compared as well.
JUST_WRITTEN = 2.0

#: Seconds after which a file that another process began to write counts as abandoned.
ABANDONED = 600.0

#: What a row's ``fault`` says whose ID an earlier one has.
TWICE = "twice"

#: Bytes from which a progress bar is shown.
N_BYTE_SHOWN = 1 << 24


class ArrowFile:
    """An Arrow file of rows, mapped into memory.

    Arguments
    ---------
    path : str
        The file; None: ``content`` is one.
    content : pyarrow.Buffer
        A file in memory.

    Raises
    ------
    ValueError
        If it is not whole, or no such file.
    """

    def __init__(self, path: str | Path | None, content: pa.Buffer | None = None):
        self.path, self.content = path, content
        try:
            source = pa.memory_map(str(path)) if path else pa.BufferReader(content)
            reader = pa.ipc.open_file(source)
            self.key = json.loads((reader.schema.metadata or {})[KEY])
            self.batches = [
                reader.get_batch(i) for i in range(reader.num_record_batches)
            ]
        except (pa.ArrowException, KeyError, OSError) as error:
            raise ValueError(f"{path} is no file of rows: {error}") from error
        self.starts = [0]  # number of the first row of each batch, and of all rows
        for batch in self.batches:
            self.starts.append(self.starts[-1] + len(batch))

    def __len__(self):
        return self.starts[-1]

    def __reduce__(self):
        return reopened, (self.path, self.content, self.key)

    def column(self, name: str) -> Iterator[pa.Array]:
        """Yield a column, a batch at a time."""
        return (batch.column(name) for batch in self.batches)

    def numbers(self, name: str) -> np.ndarray:
        """Return a column of numbers [row]."""
        parts = [part.to_numpy() for part in self.column(name)]
        return np.concatenate(parts) if parts else np.zeros(0, np.uint64)

    def row(self, number: int, names: Iterable[str]) -> list:
        """Return the values of some columns of a row."""
        index = bisect_right(self.starts, number) - 1
        batch, number = self.batches[index], number - self.starts[index]
        return [batch.column(INDEX_OF[name])[number].as_py() for name in names]

    def rows(self, numbers: np.ndarray, names: Iterable[str]) -> Iterator[tuple]:
        """Yield the values of some columns of rows, in the order of their numbers."""
        names = list(names)
        for begin in range(0, len(numbers), N_BATCH):
            some = np.asarray(numbers[begin : begin + N_BATCH], dtype=np.int64)
            indices = np.searchsorted(self.starts, some, side="right") - 1
            ends = [*(np.flatnonzero(np.diff(indices)) + 1), len(some)]
            first = 0
            for end in ends:
                batch = self.batches[indices[first]]
                local = pa.array(some[first:end] - self.starts[indices[first]])
                yield from zip(
                    *(batch.column(name).take(local).to_pylist() for name in names),
                    strict=True,
                )
                first = end


def reopened(path: str | None, content: pa.Buffer | None, key: Mapping) -> "ArrowFile":
    """Map a file in another process; raise ValueError if it is another one now."""
    found = ArrowFile(path, content)
    if found.key["digest"] != key["digest"]:
        raise ValueError(f"{path} was made again while it was in use; start again.")
    return found


def text(value: bytes | None) -> str | None:
    """Return a text of a column."""
    return None if value is None else value.decode("utf-8", "surrogatepass")


def raw(value: str) -> bytes:
    """Return what a column holds of a text."""
    return value.encode("utf-8", "surrogatepass")


def number_of(*parts: bytes) -> int:
    """Return a number of 64 bits that tells byte strings from others."""
    found = hashlib.blake2b(digest_size=8)
    for part in parts:
        found.update(len(part).to_bytes(8, "little") + part)
    return int.from_bytes(found.digest(), "little")


def open_arrow(path: str | Path) -> ArrowFile:
    """Return the Arrow file of a manifest, made before if it has none that fits.

    Arguments
    ---------
    path : str
        JSON or CSV, see ``data.table.read_table``.

    Raises
    ------
    ValueError
        If the manifest has not its form, or changes while it is read.
    """
    path = Path(path)
    targets = [path.with_name(f"{path.name}.arrow"), _in_cache(path)]
    now = state_of(path)
    digest = None  # of the manifest's bytes; read where its state does not tell
    for target in targets:
        if not target.is_file():
            continue
        try:
            found = ArrowFile(target)
        except ValueError as error:
            logger.warning("%s; it is made again.", error)
            continue
        key = found.key
        if key.get("version") != VERSION or key["state"][0] != now[0]:
            continue
        if key["is_settled"] and key["state"] == now:
            return found
        digest = digest or digest_of(path)
        if key["digest"] == digest:
            return found
    for target in targets:
        try:
            return _convert(path, target)
        except OSError as error:
            is_denied = isinstance(error, PermissionError)
            if not is_denied and error.errno != errno.EROFS:
                raise
            logger.info("%s cannot be written (%s).", target, error)
            denied = error
    raise PermissionError(
        f"The rows of {path} can be written neither beside it nor to {targets[-1]}: "
        f"{denied}. Set XDG_CACHE_HOME to a folder that can be written."
    )


def _in_cache(path: Path) -> Path:
    """Return the path in the user's cache of a manifest's Arrow file."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    return Path(cache, "pengi_plugin", f"{name}.{path.name}.arrow")


def state_of(path: Path) -> list[int]:
    """Return a file's size, and its times of change in ns."""
    found = os.stat(path)
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def digest_of(path: Path) -> str:
    """Return a digest of a file's bytes."""
    found = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def _convert(path: Path, target: Path) -> ArrowFile:
    """Write the rows of a manifest to an Arrow file, and map it."""
    before, start = state_of(path), time.time()
    key = {"version": VERSION, "state": before, "digest": digest_of(path)}
    key["is_settled"] = start - max(before[1:]) / 1e9 > JUST_WRITTEN
    if target.parent != path.parent:
        target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target)
    with new_file(target) as unfinished:
        with unfinished.open("wb") as file:
            hashes = write_arrow(file, _shown(path, before[0]), key)
            repeated = _repeated(hashes)
            if repeated:
                file.seek(0)
                file.truncate()
                write_arrow(file, _shown(path, before[0]), key, repeated)
            file.flush()
            os.fsync(file.fileno())
        if state_of(path) != before:
            raise ValueError(f"{path} was changed while it was read; try again.")
    return ArrowFile(target)


def _shown(path: Path, n_byte: int) -> Iterator[tuple[str, dict]]:
    """Yield the rows of a manifest, with a progress bar where it is large."""
    is_large = n_byte >= N_BYTE_SHOWN
    bar = tqdm(
        read_table(path),
        f"reading {path}",
        unit="row",
        leave=False,
        disable=not is_large,
    )
    yield from bar


def _remove_abandoned(target: Path) -> None:
    """Remove what processes that were killed began to write."""
    for path in target.parent.glob(f".{target.name}.*.unfinished"):
        try:
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()
        except FileNotFoundError:  # by another process
            continue


def _repeated(hashes: array) -> set[int]:
    """Return the numbers that are there more than once."""
    numbers = np.sort(np.frombuffer(hashes, dtype=np.uint64))
    return set(numbers[1:][numbers[1:] == numbers[:-1]].tolist())


def write_arrow(
    sink,
    rows: Iterable[tuple[str, Mapping]],
    key: Mapping,
    repeated: set[int] = frozenset(),
) -> array:
    """Write rows to an Arrow file, ``N_BATCH`` at a time.

    Arguments
    ---------
    sink : file
        Open for writing bytes.
    rows : iterable of (str, dict)
        ID and row.
    key : dict
        What the file is made from.
    repeated : set of int
        Numbers of IDs that may be there twice; of rows of one ID all but the first are
        marked.

    Returns
    -------
    hashes : array
        The numbers of all IDs.
    """
    schema = pa.schema(COLUMNS, metadata={KEY: json.dumps(dict(key))})
    hashes, seen, columns = array("Q"), Counter(), {name: [] for name, _ in COLUMNS}
    with pa.ipc.new_file(sink, schema) as writer:
        for row_id, row in rows:
            name = raw(row_id)
            hashes.append(number_of(name))
            cells = cells_of(name, row)
            if hashes[-1] in repeated:
                cells["fault"] = raw(TWICE) if seen[name] else cells["fault"]
                seen[name] += 1
            for column, values in columns.items():
                values.append(cells[column])
            if len(columns["ID"]) == N_BATCH:
                writer.write_batch(pa.RecordBatch.from_pydict(columns, schema))
                columns = {name: [] for name, _ in COLUMNS}
        if columns["ID"]:
            writer.write_batch(pa.RecordBatch.from_pydict(columns, schema))
    return hashes


def cells_of(name: bytes, row: Mapping) -> dict[str, object]:
    """Return column -> value of a row."""
    fault = fault_of(row)
    cells: dict[str, object] = {"ID": name, "fault": raw(fault) if fault else None}
    rest = dict(row)
    for field in ("wav", "task", "source", "original"):
        is_text = isinstance(row.get(field), str)
        cells[field] = raw(rest.pop(field)) if is_text else None
    cells["duration"] = None
    if not fault or _is_number(row.get("duration")):
        cells["duration"] = float(rest.pop("duration"))
    cells["fields"] = json.dumps(rest, sort_keys=True).encode()
    cells["clip"] = number_of(raw(normalize_root(row["wav"]))) if cells["wav"] else 0
    kept = (cells["task"] or b"", cells["source"] or b"", cells["fields"])
    cells["digest"] = number_of(name, repr(cells["duration"]).encode(), *kept)
    return cells


def _is_number(value) -> bool:
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and not abs(value) > sys.float_info.max
