"""A folder of manifests in, shards of their clips and manifests that name these out.

The same call goes on where an earlier one was interrupted, at any moment, and ends
with the same bytes. A shard is written when its index is there; which clips it holds
follows from their order and their encoded sizes alone. Clips are stored manifest by
manifest, in the order of the rows; one that several name is stored with the first.
"""

import csv
import hashlib
import io
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from pengi_plugin.data.check import find_manifests
from pengi_plugin.data.encoding import Encoded, check_options, encode
from pengi_plugin.data.manifest import read_manifest, recorded_root
from pengi_plugin.data.overlap import real_path
from pengi_plugin.data.shard_writer import Ahead, ShardFile, index_of, write_index
from pengi_plugin.data.shards import AGAIN, Shard, index_path, is_member
from pengi_plugin.storage.atomic import new_file, write_file
from pengi_plugin.storage.lock import LOCK_FILE, only_writer

#: What the shards of a folder depend on.
RECORD = "shards.json"

#: Which clips are in no shard, and why: manifest, wav, reason.
LEFT_OUT = "left_out.csv"

#: Clips that are encoded or wait to be written, for each worker.
N_AHEAD = 4

#: So many missing files one behind the other mean that a disk is gone.
N_MISSING = 10

#: The smallest size of a shard in bytes: less is a typing error.
SMALLEST = 1 << 16


class Count(NamedTuple):
    """What a folder of shards holds; ``n_clipped`` counts samples."""

    clips: int
    shards: int
    n_byte: int
    n_clipped: int
    rows: int


@dataclass(frozen=True)
class Options:
    """How clips are stored.

    Arguments
    ---------
    shard_size : int
        The most bytes of a shard; a clip that is longer has a shard of its own.
    format, sample_rate : str, int
        Of the clips; see ``data.encoding.encode``.

    Raises
    ------
    ValueError
        If one of these cannot be used.
    """

    shard_size: int = 1 << 30
    format: str | None = None
    sample_rate: int | None = None

    def __post_init__(self):
        check_options(self.format, self.sample_rate)
        if self.shard_size < SMALLEST:
            raise ValueError(
                f"shard_size must be at least {SMALLEST} bytes; got {self.shard_size}."
            )


def shard_manifests(
    manifests: str | Path, folder: str | Path, options: Options, n_worker: int = 1
) -> tuple[Count, list[tuple[str, str, str]]]:
    """Write the shards and manifests that are not there yet.

    Arguments
    ---------
    manifests : str
        Folder with ``train``, ``valid`` or ``test`` (.json or .csv); so may each
        subfolder have, one per corpus.
    folder : str
        Where to; new, empty, or of an interrupted call with the same arguments.
    options : Options
        How clips are stored.
    n_worker : int
        Clips that are encoded at a time.

    Returns
    -------
    count : Count
        Of all shards, of this call and of earlier ones.
    left_out : list of (str, str, str)
        Manifest, audio file, and why it is in no shard.

    Raises
    ------
    ValueError
        If the folder holds shards of other manifests or options, a shard is damaged,
        or no clip can be stored; says what to do.
    FileExistsError
        If it holds other files.
    FileNotFoundError
        If there is no manifest, or many files one behind the other are missing.
    BlockingIOError
        If another living process writes there.
    """
    if n_worker < 1:
        raise ValueError(f"workers must be at least 1; got {n_worker}.")
    paths, faults = find_manifests(Path(manifests))
    if faults:
        raise ValueError(faults[0].message)
    with only_writer(folder), ThreadPoolExecutor(n_worker) as pool:
        _open(Path(folder), Path(manifests), paths, options)
        work = _Work(Path(folder), options, pool, N_AHEAD * n_worker)
        counts = [
            work.shard_manifest(path, path.relative_to(manifests).with_suffix(""))
            for path in paths
        ]
        count = Count(*map(sum, zip(*counts, strict=True)))
        if not count.clips:
            raise ValueError(
                f"No clip of {manifests} could be stored; {Path(folder, LEFT_OUT)} "
                "says why."
            )
    return count, sorted((*key, why) for key, why in work.left_out.items())


def _open(folder: Path, manifests: Path, paths: Sequence[Path], options: Options):
    """Write down what the folder holds, or compare it with what is written."""
    if folder.resolve().is_relative_to(manifests.resolve()):
        raise ValueError(
            f"{folder} is in the folder of the manifests; give a folder elsewhere."
        )
    for unfinished in folder.rglob(".*.unfinished"):
        unfinished.unlink()
    settings = {
        "format": options.format,
        "sample_rate": options.sample_rate,
        "shard_size": options.shard_size,
        **{f"manifest {p.relative_to(manifests)}": _digest(p) for p in paths},
    }
    record = folder / RECORD
    if not record.exists():
        others = sorted(p.name for p in folder.iterdir() if p.name != LOCK_FILE)
        if others:
            raise FileExistsError(
                f"{folder} holds {others[0]} and no {RECORD}; give an empty or new "
                "folder."
            )
        write_file(record, json.dumps(settings, indent=1) + "\n")
    before = json.loads(record.read_text(encoding="utf-8"))
    changed = [
        f"{name}: {before.get(name)!r} then, {settings.get(name)!r} now"
        for name in dict.fromkeys([*before, *settings])
        if before.get(name) != settings.get(name)
    ]
    if changed:
        raise ValueError(
            f"{folder} holds shards of other arguments ({'; '.join(changed)}). Give "
            "the earlier ones to go on, or another output folder."
        )


def _digest(manifest: Path) -> str:
    """Return what tells a manifest from others: its bytes, and where its files are."""
    found = hashlib.sha256(manifest.read_bytes())
    found.update(str(recorded_root(manifest.parent)).encode())
    return found.hexdigest()[:16]


class _Work:
    """What is known of a folder's shards while they are written."""

    def __init__(self, folder: Path, options: Options, pool, n_ahead: int):
        self.folder, self.options = folder, options
        self.pool, self.n_ahead = pool, n_ahead
        self.left_out = _read_left_out(folder / LEFT_OUT)
        #: Audio file -> its shard and its name there; None if it is in no shard.
        self.members: dict[str, tuple[str, str] | None] = {}

    def shard_manifest(self, path: Path, name: Path) -> Count:
        """Write the shards of the clips that are not stored yet, and the manifest."""
        rows = read_manifest(path, "")
        real = _real_paths(rows, path)
        about = _rows_of_clips(rows, real)
        clips = [clip for clip in about if real[clip] not in self.members]
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        clips = _Clips(clips, real, about, name.as_posix())
        count = self._write_shards(clips)
        _write_left_out(self.folder / LEFT_OUT, self.left_out)
        target = self.folder / f"{name}.json"
        stored = {
            row_id.removeprefix("/"): self._stored_row(row, member, target.parent)
            for row_id, row in rows.items()
            if (member := self.members[real[row["wav"]]]) is not None
        }
        write_file(target, json.dumps(stored, indent=1))
        return count._replace(rows=len(stored))

    def _write_shards(self, clips: "_Clips") -> Count:
        """Write the shards of a manifest that are not there; count what all hold."""
        paths, ahead, count = clips.paths, None, Count(0, 0, 0, 0, 0)
        start = 0
        with tqdm(total=len(paths), desc=clips.manifest, unit="clip") as bar:
            while start < len(paths):
                shard = f"{self.folder / clips.manifest}-{count.shards:06d}.tar"
                index = existing_index(shard)
                if index is None:
                    if ahead is None or ahead.position < start:
                        ahead = Ahead(
                            self.pool, self._encode, paths, start, self.n_ahead
                        )
                    if self._next_good(clips, ahead, bar) is None:
                        break
                    index = self._write_shard(shard, count.shards, clips, ahead, bar)
                else:
                    self._check_follows(shard, index, clips, start)
                stop = int(index["clip"].max()) + 1
                self._note(shard, index, clips, range(start, stop))
                bar.update(max(stop - bar.n, 0))
                start = stop
                count = Count(
                    count.clips + len(index),
                    count.shards + 1,
                    count.n_byte + os.path.getsize(shard),
                    count.n_clipped + int(index["n_clipped"].sum()),
                    0,
                )
        self.members |= {clips.real[clip]: None for clip in paths[start:]}
        return count

    def _check_follows(self, shard: str, index, clips: "_Clips", start: int) -> None:
        """Raise ValueError if a shard does not go on where the one before it ends.

        That one was written again, and other clips could be read than at first.
        """
        first = int(index["clip"].min())
        between = clips.paths[start:first]
        lost = [p for p in between if (clips.manifest, p) not in self.left_out]
        if first < start or lost:
            clip = lost[0] if lost else clips.paths[first]
            raise ValueError(
                f"{clip} is {'in no shard' if lost else 'in two shards'}: other clips "
                f"can be read than when {shard} was written. Delete it and all behind "
                "it, with their indices (.npy), and the same command writes them again."
            )

    def _encode(self, clip: str) -> Encoded | Exception:
        options = self.options
        try:
            return encode(clip, options.format, options.sample_rate, str(self.folder))
        except (OSError, ValueError) as error:
            return error

    def _next_good(self, clips: "_Clips", ahead: Ahead, bar) -> Encoded | None:
        """Return the next clip that can be stored; None if none is left. Note those
        before it."""
        n_missing = 0
        while isinstance(found := ahead.peek(), Exception):
            clip = clips.paths[ahead.position]
            n_missing = n_missing + 1 if isinstance(found, FileNotFoundError) else 0
            _check_missing(n_missing, clip)
            self.left_out[clips.manifest, clip] = str(found)
            ahead.take()
            bar.update()
        return found

    def _write_shard(
        self, shard: str, number: int, clips: "_Clips", ahead: Ahead, bar
    ) -> np.ndarray:
        """Write a shard of the next clips; return its index."""
        with new_file(shard) as unfinished:
            with unfinished.open("wb") as file:
                tar = ShardFile(file, number, self.options.shard_size)
                while (found := self._next_good(clips, ahead, bar)) is not None:
                    clip = clips.paths[ahead.position]
                    if not tar.add(clip, ahead.position, found, clips.about[clip]):
                        break
                    ahead.take()
                    bar.update()
                tar.close()
                file.flush()
                os.fsync(file.fileno())
            _write_left_out(self.folder / LEFT_OUT, self.left_out)
        index = index_of(tar.stored)
        write_index(shard, index)
        return index

    def _note(self, shard: str, index, clips: "_Clips", numbers: range) -> None:
        """Note where a shard's clips are, and that others between them are in none."""
        names = {int(row["clip"]): row["member"].decode() for row in index}
        for number in numbers:
            clip = clips.paths[number]
            if number in names:
                self.members[clips.real[clip]] = shard, names[number]
                self.left_out.pop((clips.manifest, clip), None)
            else:
                self.members[clips.real[clip]] = None
                reason = "could not be read when its shard was written"
                self.left_out.setdefault((clips.manifest, clip), reason)

    def _stored_row(self, row: Mapping, member: tuple[str, str], folder: Path) -> dict:
        """Return a row that names a clip in a shard."""
        shard = os.path.relpath(member[0], folder).replace(os.sep, "/")
        return _own_fields(row) | {
            "wav": f"{{data_root}}/{shard}::{member[1]}",
            "original": os.path.join(os.getcwd(), row["wav"]),
        }


class _Clips(NamedTuple):
    """The clips of a manifest that no earlier one has."""

    paths: list[str]
    real: dict[str, str]  # path -> without links
    about: dict[str, dict]  # path -> what is written beside the clip
    manifest: str


def _own_fields(row: Mapping) -> dict:
    """Return what a manifest says of a row, without what its reader adds."""
    return {name: row[name] for name in row if name not in ("id", "corpus")}


def _real_paths(rows: Mapping[str, Mapping], path: Path) -> dict[str, str]:
    """Return the path of each audio file -> the same without links."""
    real = {}
    for row_id, row in rows.items():
        wav = row["wav"]
        if is_member(wav):
            raise ValueError(
                f"Row {row_id.removeprefix('/')!r} of {path} names a clip in a shard "
                f"already: {wav}. Give the manifests of the files."
            )
        if wav not in real:
            real[wav] = real_path(wav)
    return real


def _rows_of_clips(rows: Mapping[str, Mapping], real: Mapping) -> dict[str, dict]:
    """Return audio file -> what is written beside it, in the order of the rows. A file
    of two names is there by the first."""
    clips, first = defaultdict(lambda: {"rows": []}), {}
    for row_id, row in rows.items():
        clip = first.setdefault(real[row["wav"]], row["wav"])
        about = {"id": row_id.removeprefix("/")} | _own_fields(row)
        clips[clip]["rows"].append({k: about[k] for k in about if k != "wav"})
    return dict(clips)


def existing_index(shard: str) -> np.ndarray | None:
    """Return the index of a shard that is written; None if it is not.

    Raises
    ------
    ValueError
        If the shard has gone or is truncated.
    """
    if not os.path.exists(index_path(shard)):
        return None
    try:
        return Shard(shard).index
    except FileNotFoundError as error:
        raise ValueError(f"{error} Its index is there. {AGAIN}") from error


def _check_missing(n_missing: int, clip: str) -> None:
    if n_missing >= N_MISSING:
        raise FileNotFoundError(
            f"{n_missing} files one behind the other are missing, the last is {clip}. "
            "Is their disk there? Then the same command goes on. Else prepare the "
            "manifests again: they should name files that are there."
        )


def _read_left_out(path: Path) -> dict[tuple[str, str], str]:
    """Return (manifest, audio file) -> reason."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return {(name, wav): reason for name, wav, reason in [*csv.reader(file)][1:]}


def _write_left_out(path: Path, left_out: Mapping[tuple[str, str], str]) -> None:
    if not left_out and not path.exists():
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = sorted((*key, reason) for key, reason in left_out.items())
    writer.writerows([("manifest", "wav", "reason"), *rows])
    write_file(path, text.getvalue().encode("utf-8", "surrogateescape"))
