"""A folder of parts: each is written whole, under the name of what it holds.

Part ``n`` holds the rows of recordings ``n * part_size`` to ``(n + 1) * part_size``.
It is done when its file is there, so nothing else has to be remembered.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow
from pyarrow import parquet
from tqdm import tqdm

from pengi_plugin.data.file_state import file_state
from pengi_plugin.storage.atomic import new_file, write_file
from pengi_plugin.storage.lock import LOCK_FILE

#: The columns of a row: path as given, start and end in seconds, prompt, answer,
#: score (average log-probability of the answer's tokens), error. A recording that
#: cannot be read has one row without prompt, answer and score; if it is damaged
#: further on, that row begins where the last good window ends.
COLUMNS = ("path", "start", "end", "prompt", "answer", "score", "error")

#: What the rows of the folder depend on.
SETTINGS_FILE = "settings.json"

#: Which recordings the parts were written about: a digest of their sizes and times of
#: change for each part, as they were when its writing was begun.
RECORDINGS_FILE = "recordings.json"

#: What an engine keeps here until all parts are written.
WORK_FOLDER = "ray"

FORMATS = ("jsonl", "parquet")


@dataclass(frozen=True)
class Output:
    """A folder, and which recordings its parts are of.

    Arguments
    ---------
    folder : str
        Of the parts.
    paths : tuple of str
        Recordings, each once.
    form : str
        ``"jsonl"`` or ``"parquet"``.
    part_size : int
        Recordings per part; what a killed process did of a part is done again.

    Raises
    ------
    ValueError
        If one of these cannot be used.

    Example
    -------
    >>> output = Output("out", ("a.wav", "b.wav", "c.wav"), part_size=2)
    >>> output.n_part, output.path_of(1).name, output.recordings_of(1)
    (2, 'part-000001.jsonl', ('c.wav',))
    """

    folder: str
    paths: tuple[str, ...]
    form: str = "jsonl"
    part_size: int = 64

    def __post_init__(self):
        if self.form not in FORMATS:
            raise ValueError(f"The format must be one of {FORMATS}; got {self.form!r}.")
        if self.part_size < 1:
            raise ValueError(f"part_size must be at least 1; got {self.part_size}.")
        if not self.paths:
            raise ValueError("There are no recordings; give one or more.")
        if len(set(self.paths)) < len(self.paths):
            raise ValueError("A recording is listed twice; list each once.")

    @property
    def n_part(self) -> int:
        """Number of parts."""
        return -(-len(self.paths) // self.part_size)

    def path_of(self, part: int) -> Path:
        """Return the file of a part."""
        return Path(self.folder) / f"part-{part:06d}.{self.form}"

    def recordings_of(self, part: int) -> Sequence[str]:
        """Return the recordings of a part."""
        return self.paths[part * self.part_size : (part + 1) * self.part_size]

    @property
    def work_folder(self) -> Path:
        """Where an engine keeps answers that are in no part yet."""
        return Path(self.folder) / WORK_FOLDER

    def pending(self) -> list[int]:
        """Return the parts that are not there yet."""
        return [part for part in range(self.n_part) if not self.path_of(part).exists()]

    def settings(self) -> dict:
        """Return what tells this folder's list and parts from others."""
        found = hashlib.sha256()
        for path in self.paths:
            found.update(os.fsencode(os.path.abspath(path)) + b"\0")
        return {
            "format": self.form,
            "part_size": self.part_size,
            "recordings": len(self.paths),
            "list": found.hexdigest()[:16],
        }

    def open(self, settings: Mapping) -> None:
        """Write down what the folder holds, or compare it with what is written.

        A folder without parts holds nothing yet: what is written is replaced. What a
        killed process left unfinished is removed, so hold the folder's lock.

        Arguments
        ---------
        settings : dict
            Name -> plain value: what the rows depend on besides ``self.settings()``.

        Raises
        ------
        ValueError
            If the folder holds rows of other settings; names them.
        FileExistsError
            If it holds other files.
        """
        folder = Path(self.folder)
        settings = json.loads(json.dumps({**settings, **self.settings()}))
        for unfinished in folder.glob(".*.unfinished"):
            unfinished.unlink()
        path = folder / SETTINGS_FILE
        known = {LOCK_FILE}
        if path.exists():
            known |= {SETTINGS_FILE, RECORDINGS_FILE}
        others = sorted(p.name for p in folder.iterdir() if p.name not in known)
        if others and not path.exists():
            raise FileExistsError(
                f"{folder} holds {others[0]} and no {SETTINGS_FILE}; give an empty or "
                "new folder."
            )
        if not others:  # no part: whatever was asked before, nothing was answered
            write_file(path, json.dumps(settings, indent=1, sort_keys=True) + "\n")
            return
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [
            f"{name}: {before.get(name)!r} then, {settings.get(name)!r} now"
            for name in sorted(before.keys() | settings.keys())
            if before.get(name) != settings.get(name)
        ]
        if changed:
            raise ValueError(
                f"{folder} holds answers of other settings ({'; '.join(changed)}). "
                "Give the earlier settings to go on, or another output folder."
            )

    def settle_recordings(self) -> list[int]:
        """Remove the parts of which a recording has changed since they were written.

        What the recordings are now is noted, for the next call. Call it behind ``open``
        and before anything is answered: a recording that changes while it is being
        answered is noticed by the next call.

        Returns
        -------
        changed : list of int
            The parts that were removed.

        Raises
        ------
        ValueError
            If an engine has kept answers about recordings that have changed.
        FileNotFoundError
            If one that has been answered is not there any more: no part is removed.
        """
        path = Path(self.folder) / RECORDINGS_FILE
        before = json.loads(path.read_text("utf-8")) if path.exists() else {}
        is_kept = self.work_folder.exists()
        now, changed, kept = {}, [], []
        parts = range(self.n_part)
        for part in tqdm(parts, "recordings looked at", delay=2, unit="part"):
            now[str(part)] = state = recordings_state(self.recordings_of(part))
            if before.get(str(part)) == state:
                continue
            if is_kept:  # its answers may be there, also of a part that is written
                kept.append(part)
            elif self.path_of(part).exists():
                changed.append(part)
        if kept:
            raise ValueError(
                f"Recordings of part {kept[0]} have changed since {self.work_folder} "
                "was written, which holds answers about them. Remove that folder: what "
                "has changed, and what is in no part yet, is answered again."
            )
        for part in changed:
            self._check_answered_are_there(part)
        for part in changed:
            self.path_of(part).unlink()
        write_file(path, json.dumps(now) + "\n")
        return changed

    def _check_answered_are_there(self, part: int) -> None:
        """Raise FileNotFoundError if a recording that was answered is gone."""
        path = self.path_of(part)
        answered = {row["path"] for row in read_part(path) if row["error"] is None}
        for name in self.recordings_of(part):
            # As JSON lines and Parquet have it.
            is_answered = name in answered or _as_utf8(name) in answered
            if is_answered and file_state(name) is None:
                raise FileNotFoundError(
                    f"{name} was answered and is not there any more, or empty; writing "
                    f"{path} again would lose its answers. Put it back (is a disk "
                    "missing?), or give a list without it and another output folder."
                )


def recordings_state(paths: Iterable[str]) -> str:
    """Return a digest of the sizes and times of change of recordings.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.wav"
    >>> before = recordings_state([path])
    >>> _ = path.write_text("sound")
    >>> recordings_state([path]) == before
    False
    """
    found = hashlib.sha256()
    for path in paths:
        try:
            state = file_state(path)
        except ValueError as error:  # a damaged shard
            state = str(error)
        found.update(json.dumps(state).encode())
    return found.hexdigest()[:16]


def write_part(path: str | Path, rows: Iterable[Mapping]) -> None:
    """Write the rows of a part, as JSON lines or Parquet by the file's ending.

    Arguments
    ---------
    path : str
        The part; it is there when all of it has reached the disk.
    rows : iterable of dict
        Of ``COLUMNS``; JSON lines are written as they come.
    """
    path = Path(path)
    with new_file(path) as unfinished:
        if path.suffix == ".parquet":
            _write_parquet(unfinished, rows)
        else:
            with unfinished.open("wb") as file:
                for row in rows:
                    file.write(_line(row))
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())


def _line(row: Mapping) -> bytes:
    text = json.dumps(row, ensure_ascii=False) + "\n"
    # A file name that is no UTF-8 becomes \udcXX, which JSON reads back.
    return text.encode("utf-8", "backslashreplace")


def _as_utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _write_parquet(path: Path, rows: Iterable[Mapping]) -> None:
    kinds = {name: pyarrow.string() for name in COLUMNS}
    kinds |= dict.fromkeys(("start", "end", "score"), pyarrow.float64())
    texts = [
        {
            name: _as_utf8(value) if isinstance(value, str) else value
            for name, value in row.items()
        }
        for row in rows
    ]
    table = pyarrow.Table.from_pylist(texts, pyarrow.schema(list(kinds.items())))
    parquet.write_table(table, path)


def read_part(path: str | Path) -> Iterator[dict]:
    """Yield the rows of a part."""
    path = Path(path)
    if path.suffix == ".parquet":
        yield from parquet.read_table(path).to_pylist()
        return
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)
