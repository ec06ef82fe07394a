"""Encoded clips in, a shard and its index out, both whole."""

import io
import json
import os
import re
import tarfile
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pengi_plugin.data.encoding import Encoded
from pengi_plugin.data.shards import HEADER, index_dtype, index_path
from pengi_plugin.storage.atomic import new_file

#: Letters of a file's name that its member keeps.
N_LETTER = 48


class Ahead:
    """The results of work on items, in order, while the next ones are worked on.

    Arguments
    ---------
    pool : Executor
        What works.
    work : callable
        Item -> result, which is not None.
    items : sequence
        What is worked on.
    start : int
        The first of them that is.
    n_ahead : int
        Items that are worked on at a time, or wait to be taken.

    Example
    -------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(2) as pool:
    ...     ahead = Ahead(pool, str, [1, 2, 3], start=1, n_ahead=2)
    ...     ahead.position, ahead.take(), ahead.peek()
    (1, '2', '3')
    """

    def __init__(
        self,
        pool: Executor,
        work: Callable[[Any], Any],
        items: Sequence,
        start: int,
        n_ahead: int,
    ):
        self.position = start
        self._pool, self._work, self._items = pool, work, items
        self._n_ahead, self._waiting = n_ahead, deque()

    def peek(self) -> Any:
        """Return the next result; None behind the last item."""
        first = self.position + len(self._waiting)
        last = min(self.position + self._n_ahead, len(self._items))
        for item in self._items[first:last]:
            self._waiting.append(self._pool.submit(self._work, item))
        return self._waiting[0].result() if self._waiting else None

    def take(self) -> Any:
        """Return the next result and go on to the one behind it."""
        found = self.peek()
        if self._waiting:
            self._waiting.popleft()
            self.position += 1
        return found


class Stored(NamedTuple):
    """A clip in a shard: name and first byte, position in its list, what it is."""

    member: str
    offset: int
    clip: int
    encoded: Encoded


class ShardFile:
    """A shard that is being written.

    Arguments
    ---------
    file : file object
        Where to.
    number : int
        Of the shard, the first part of its members' names.
    shard_size : int
        The most bytes that it may have; a first clip is always taken.
    """

    def __init__(self, file, number: int, shard_size: int):
        self._tar = tarfile.TarFile(fileobj=file, mode="w", format=tarfile.GNU_FORMAT)
        self._number, self._shard_size = number, shard_size
        self.stored: list[Stored] = []

    def add(self, path: str, clip: int, encoded: Encoded, about: Mapping) -> bool:
        """Add a clip, and beside it a JSON object; tell whether there was room."""
        text = json.dumps(about, indent=1).encode()
        n_byte = _padded(encoded.size) + _padded(len(text)) + 2 * HEADER
        end = _padded(self._tar.offset + n_byte + 2 * HEADER, tarfile.RECORDSIZE)
        if self.stored and end > self._shard_size:
            return False
        key = f"{self._number:06d}_{len(self.stored):06d}_{readable(path)}"
        member = key + encoded.suffix
        row = Stored(member, self._tar.offset + HEADER, clip, encoded)
        self._add(member, encoded.size, encoded.file)
        self._add(f"{key}.json", len(text), io.BytesIO(text))
        encoded.file.close()
        self.stored.append(row)
        return True

    def _add(self, name: str, size: int, file) -> None:
        info = tarfile.TarInfo(name)  # owner, time and rights are always the same
        info.size = size
        self._tar.addfile(info, file)

    def close(self) -> None:
        """Write the end of the tar."""
        self._tar.close()


def _padded(n_byte: int, block: int = tarfile.BLOCKSIZE) -> int:
    return -(-n_byte // block) * block


def readable(path: str) -> str:
    """Return a file's name as a part of a member's, without a dot.

    Example
    -------
    >>> readable("/data/a dog's bark.v2.wav")
    'a_dog_s_bark_v2'
    """
    return re.sub(r"[^A-Za-z0-9-]+", "_", Path(path).stem)[:N_LETTER].strip("_")


def index_of(stored: Iterable[Stored]) -> np.ndarray:
    """Return the index of a shard's clips; see ``data.shards``."""
    stored = sorted(stored)
    index = np.zeros(len(stored), index_dtype([row.member for row in stored]))
    for row, (member, offset, clip, encoded) in zip(index, stored, strict=True):
        row["member"], row["offset"], row["clip"] = member.encode(), offset, clip
        row["size"], row["frames"] = encoded.size, encoded.frames
        row["sample_rate"], row["n_clipped"] = encoded.sample_rate, encoded.n_clipped
        row["sha256"] = encoded.sha256.encode()
    return index


def write_index(shard: str, index: np.ndarray) -> None:
    """Write the index of a shard; from then on the shard counts as written."""
    with new_file(index_path(shard)) as unfinished, unfinished.open("wb") as file:
        np.save(file, index)
        file.flush()
        os.fsync(file.fileno())
