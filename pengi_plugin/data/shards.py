"""A reference to a clip in a tar in, a file object of the clip's bytes out.

``clips/train-000012.tar::000345_dog.flac`` names the member ``000345_dog.flac`` of a
tar. Such references stand wherever paths of audio files do. Beside a tar of
``pengi shard`` lies its index, ``train-000012.npy``: what a member's bytes are read by,
without a look at the rest of the tar. The headers of a tar without an index are read
once in each process.

A shard stays open; each process opens its own, and at most ``N_OPEN`` at a time. Where
the tar is a URL (``s3://...``, ``http://...``), ranges of it are fetched by fsspec.
"""

import io
import os
import tarfile
from bisect import bisect_left
from functools import lru_cache
from itertools import pairwise

import numpy as np

#: What stands between a shard and a member of it.
SEPARATOR = ".tar::"

#: Shards that a process keeps open: two files each, of the 1024 that are usual.
N_OPEN = 128

#: Bytes of a member that are read at a time: from a disk, and from elsewhere.
BUFFER, REMOTE_BUFFER = 1 << 16, 1 << 20

#: Bytes of a header in a tar.
HEADER = 512

#: Columns of an index: member's name, first byte and number of bytes in the tar,
#: length in frames at its rate in Hz, samples that were cut at full scale when it was
#: encoded, position in the list of the manifest's clips, and checksum.
COLUMNS = {
    "member": "S",
    "offset": "<i8",
    "size": "<i8",
    "frames": "<i8",
    "sample_rate": "<i4",
    "n_clipped": "<i8",
    "clip": "<i8",
    "sha256": "S64",
}

AGAIN = (
    "Copy it again from where it is whole; or delete it and its index (.npy), and the "
    "same pengi shard command writes it again."
)


def is_member(path: str | os.PathLike) -> bool:
    """Tell whether a path refers to a member of a shard.

    Example
    -------
    >>> is_member("clips/train-000012.tar::000345_dog.flac"), is_member("dog.flac")
    (True, False)
    """
    return isinstance(path, str | os.PathLike) and SEPARATOR in os.fspath(path)


def is_url(path: str | os.PathLike) -> bool:
    """Tell whether a path is a URL, which fsspec reads."""
    return "://" in os.fspath(path)


def split_reference(path: str | os.PathLike) -> tuple[str, str]:
    """Return the shard and the member that a reference names.

    Example
    -------
    >>> split_reference("clips/train-000012.tar::000345_dog.flac")
    ('clips/train-000012.tar', '000345_dog.flac')
    """
    shard, _, member = os.fspath(path).rpartition(SEPARATOR)
    return f"{shard}.tar", member


def index_path(shard: str | os.PathLike) -> str:
    """Return where the index of a shard is."""
    return f"{os.fspath(shard).removesuffix('.tar')}.npy"


class Shard:
    """An open tar of clips and its index.

    Arguments
    ---------
    path : str
        The tar: a path or a URL.

    Attributes
    ----------
    index : numpy.ndarray
        [member], a structured array of ``COLUMNS``, sorted by name. Without an index
        file, ``frames``, ``sample_rate`` and ``sha256`` are not known (0, empty).

    Raises
    ------
    FileNotFoundError
        If there is no such tar.
    ValueError
        If it is no tar, truncated, or its index is damaged; says what to do.
    """

    def __init__(self, path: str):
        self.path = path
        self._bytes = _Remote(path) if is_url(path) else _Local(path)
        index = self._bytes.read_index(index_path(path))
        self.is_indexed = index is not None
        self.index = index if self.is_indexed else self._scan()
        self.n_byte = self._bytes.n_byte
        end = int((self.index["offset"] + self.index["size"]).max(initial=0))
        is_whole = not self.is_indexed or self.n_byte % tarfile.RECORDSIZE == 0
        if self.n_byte < end or not is_whole:
            raise ValueError(
                f"{path} is truncated: it has {self.n_byte} bytes, its clips end at "
                f"byte {end}, and a tar has whole blocks of {tarfile.RECORDSIZE}. "
                f"{AGAIN}"
            )

    @property
    def mtime_ns(self) -> int:
        """When the tar was last changed; 0 of a URL."""
        return self._bytes.mtime_ns

    @property
    def buffer_size(self) -> int:
        """Bytes that are worth reading at a time."""
        return self._bytes.buffer_size

    def find(self, member: str) -> np.void:
        """Return a member's row of the index.

        Raises
        ------
        FileNotFoundError
            If there is no such member.
        """
        name = member.encode("utf-8", "surrogateescape")
        index = bisect_left(self.index["member"], name)
        if index < len(self.index) and self.index["member"][index] == name:
            return self.index[index]
        raise FileNotFoundError(f"There is no clip {member} in {self.path}.")

    def read_at(self, start: int, n_byte: int) -> bytes:
        """Return bytes of the tar.

        Raises
        ------
        ValueError
            If they are not all there.
        """
        found = self._bytes.read_at(start, n_byte)
        if len(found) != n_byte:
            raise ValueError(
                f"{self.path} gave {len(found)} of {n_byte} bytes from byte {start} "
                f"on. {AGAIN}"
            )
        return found

    def _scan(self) -> np.ndarray:
        """Return the index of a tar that has none, from all of its headers."""
        try:
            with tarfile.open(fileobj=self._bytes.open(), mode="r:") as tar:
                rows = sorted(
                    (found.name, found.offset_data, found.size)
                    for found in tar
                    if found.isreg()
                )
        except tarfile.TarError as error:
            raise ValueError(
                f"{self.path} is no uncompressed tar, or is damaged ({error}). {AGAIN}"
            ) from error
        names = [name for name, *_ in rows]
        twice = next((a for a, b in pairwise(names) if a == b), None)
        if twice is not None:
            raise ValueError(f"{self.path} has two members of the name {twice}.")
        index = np.zeros(len(rows), index_dtype(names))
        for row, (name, offset, size) in zip(index, rows, strict=True):
            row["member"] = name.encode("utf-8", "surrogateescape")
            row["offset"], row["size"] = offset, size
        return index[np.argsort(index["member"])]  # bytes have another order than texts


def index_dtype(members: list[str]) -> np.dtype:
    """Return the type of an index that has room for these names."""
    lengths = [len(name.encode("utf-8", "surrogateescape")) for name in members]
    width = max(lengths, default=1)
    return np.dtype(list((COLUMNS | {"member": f"S{width}"}).items()))


class _Local:
    """The bytes of a local tar; its position is never used, so threads share it."""

    buffer_size = BUFFER

    def __init__(self, path: str):
        self.path = path
        if not os.path.isfile(path):
            raise FileNotFoundError(f"There is no shard {path}.")
        self._descriptor = os.open(path, os.O_RDONLY)
        state = os.fstat(self._descriptor)
        self.n_byte, self.mtime_ns = state.st_size, state.st_mtime_ns

    def __del__(self):
        # Here and not when the shard is one too many: a thread may be reading.
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def read_at(self, start: int, n_byte: int) -> bytes:
        return os.pread(self._descriptor, n_byte, start)

    def open(self):
        return open(self.path, "rb")

    def read_index(self, path: str) -> np.ndarray | None:
        return load_index(path) if os.path.isfile(path) else None


class _Remote:
    """The bytes of a tar behind a URL."""

    buffer_size = REMOTE_BUFFER
    mtime_ns = 0

    def __init__(self, url: str):
        try:
            import fsspec
        except ImportError as error:
            raise ValueError(
                f"{url} needs fsspec: pip install 'pengi-plugin[remote]'."
            ) from error
        try:
            self._files, self._path = fsspec.core.url_to_fs(url)
            self.n_byte = self._files.size(self._path)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"There is no shard {url}.") from error
        except (ImportError, ValueError, OSError) as error:
            # An ImportError names the package that reads this kind of URL.
            raise ValueError(f"{url} cannot be opened: {error}") from error
        if self.n_byte is None:
            raise ValueError(f"{url} has no known size, so no range of it can be read.")

    def read_at(self, start: int, n_byte: int) -> bytes:
        return self._files.cat_file(self._path, start, start + n_byte)

    def open(self):
        return self._files.open(self._path, "rb")

    def read_index(self, url: str) -> np.ndarray | None:
        path = self._files._strip_protocol(url)
        if not self._files.exists(path):
            return None
        return load_index(url, io.BytesIO(self._files.cat_file(path)))


def load_index(path: str | os.PathLike, file: io.BytesIO | None = None) -> np.ndarray:
    """Return an index; a local one is mapped, so that processes share its memory.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    try:
        if file is None:
            index = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            index = np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"The index {path} is damaged ({error}). {AGAIN}") from error
    if index.dtype.names != tuple(COLUMNS):
        raise ValueError(
            f"The index {path} has the columns {index.dtype.names}, not "
            f"{tuple(COLUMNS)}. {AGAIN}"
        )
    return index


def open_shard(path: str) -> Shard:
    """Return an open shard; the same one as long as the file is the same."""
    if is_url(path):
        return _open_shard(path, os.getpid(), None)
    try:
        state = os.stat(path)
    except OSError as error:
        raise FileNotFoundError(f"There is no shard {path}.") from error
    key = state.st_ino, state.st_size, state.st_mtime_ns
    return _open_shard(path, os.getpid(), key)


@lru_cache(maxsize=N_OPEN)
def _open_shard(path: str, process: int, state: tuple | None) -> Shard:
    """Open a shard; the process counts, as connections do not outlive a fork."""
    return Shard(path)


class MemberFile(io.BufferedReader):
    """A member of a shard as a file object of its bytes alone.

    Attributes
    ----------
    failure : Exception
        Why bytes could not be read; None if all could. libsndfile takes such a file
        for one that ends there, so ask for it after every reading.
    """

    def __init__(self, shard: Shard, offset: int, size: int):
        super().__init__(_Range(shard, offset, size), shard.buffer_size)

    @property
    def failure(self) -> Exception | None:
        """Why bytes could not be read."""
        return self.raw.failure


class _Range(io.RawIOBase):
    """Bytes ``offset`` to ``offset + size`` of a shard."""

    def __init__(self, shard: Shard, offset: int, size: int):
        self._shard, self._offset, self._size = shard, offset, size
        self._position = 0
        self.failure = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}
        self._position = origin[whence] + offset
        return self._position

    def readall(self) -> bytes:
        """Return what follows, by one reading."""
        n_byte = max(self._size - self._position, 0)
        found = self._shard.read_at(self._offset + self._position, n_byte)
        self._position += n_byte
        return found

    def readinto(self, buffer) -> int:
        n_byte = max(min(len(buffer), self._size - self._position), 0)
        if not n_byte or self.failure:
            return 0
        try:
            found = self._shard.read_at(self._offset + self._position, n_byte)
        except Exception as error:  # an exception would be lost in libsndfile
            self.failure = error
            return 0
        buffer[:n_byte] = found
        self._position += n_byte
        return n_byte


def open_member(path: str | os.PathLike) -> MemberFile:
    """Return a file object of the clip that a reference names.

    Raises
    ------
    FileNotFoundError
        If there is no such shard or clip.
    ValueError
        If the shard is damaged, or another one than its index is of.
    """
    path, member = split_reference(path)
    shard = open_shard(path)
    row = shard.find(member)
    offset, size = int(row["offset"]), int(row["size"])
    if shard.is_indexed:
        _check_header(shard, member, offset, size)
    return MemberFile(shard, offset, size)


def _check_header(shard: Shard, member: str, offset: int, size: int) -> None:
    """Raise ValueError if a member does not begin where the index says."""
    header = shard.read_at(offset - HEADER, HEADER)
    try:
        found = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        is_right = (found.name, found.size) == (member, size)
    except tarfile.TarError:
        is_right = False
    if not is_right:
        raise ValueError(
            f"{shard.path} has no {member} of {size} bytes at byte {offset}, where its "
            f"index says: it was altered, or the index is another shard's. {AGAIN}"
        )


def member_state(path: str | os.PathLike) -> list[int] | None:
    """Return a clip's size and its shard's time of change.

    None if the clip or the shard is missing, or the clip is empty.

    Raises
    ------
    ValueError
        If the shard is damaged.
    """
    path, member = split_reference(path)
    try:
        shard = open_shard(path)
        size = int(shard.find(member)["size"])
    except OSError:
        return None
    return [size, shard.mtime_ns] if size else None


def expected_digest(path: str | os.PathLike) -> str:
    """Return the checksum that the index tells of a clip; empty if none does."""
    path, member = split_reference(path)
    return open_shard(path).find(member)["sha256"].decode()


def members_of(path: str | os.PathLike) -> list[str]:
    """Return references to all members of a shard, sorted by name."""
    names = open_shard(os.fspath(path)).index["member"]
    return [
        f"{os.fspath(path)}::{name.decode('utf-8', 'surrogateescape')}"
        for name in names.tolist()
    ]
