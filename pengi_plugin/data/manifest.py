"""Manifests: audio files checked, manifests written once and whole, and read.

A manifest folder holds ``train``, ``valid`` and ``test`` in SpeechBrain's form, JSON
or CSV. One that ``pengi prepare`` wrote also holds ``left_out.csv`` (which files are
in none of them, and why) and ``prepared.json`` (the arguments they were made from,
and the state of the files that were left out). Its paths start with ``{data_root}``,
so that the manifests can be moved; ``prepared.json`` holds the folder it stands for.
Other relative paths are relative to the manifest.
"""

import csv
import hashlib
import io
import itertools
import json
import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

import soundfile
from tqdm import tqdm

from pengi_plugin.data.audio import MAX_LENGTH, Recording, file_state, open_audio
from pengi_plugin.data.shards import is_member, is_url
from pengi_plugin.data.table import read_table
from pengi_plugin.storage.atomic import new_file, write_file

logger = logging.getLogger(__name__)

SPLITS = ("train", "valid", "test")
RECORD = "prepared.json"
LEFT_OUT = "left_out.csv"

#: Endings of files that count as audio when a folder is searched.
AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aiff", ".au")

#: Formats whose last sample can be reached without decoding the whole file.
SEEKABLE = {"WAV", "WAVEX", "FLAC", "AIFF", "AU", "W64", "RF64"}

#: How the text begins that Git LFS leaves where a file was not fetched.
LFS_POINTER = b"version https://git-lfs"

#: How many files that have gone a message names.
N_NAMED = 3

#: Whether manifests stay in use although files came or went; see ``keep_manifests``.
_KEPT: ContextVar[bool] = ContextVar("manifests are kept", default=False)


@contextmanager
def keep_manifests(is_kept: bool = True) -> Iterator[None]:
    """Let manifests stay in use although audio files came or went meanwhile.

    A run that goes on needs the rows that it started with: manifests that were
    prepared again without a file would make it another run.

    Arguments
    ---------
    is_kept : bool
        False: nothing changes.
    """
    token = _KEPT.set(is_kept)
    try:
        yield
    finally:
        _KEPT.reset(token)


def check_audio(path: str | Path, seconds: float | None = None) -> tuple[float, str]:
    """Look at the header and the end of an audio file.

    Arguments
    ---------
    path : str
        The file.
    seconds : float
        How long it should be, within a tenth of a second; None: any length.

    Returns
    -------
    duration : float
        In seconds; 0 where the file cannot be used.
    reason : str
        Why it cannot be used; empty if it can.

    Example
    -------
    >>> check_audio("no such file.wav")
    (0.0, 'missing')
    """
    path = str(path)
    try:
        if not file_state(path):
            return 0.0, "empty file" if os.path.isfile(path) else "missing"
        source = open_audio(path) if is_member(path) else path
        with soundfile.SoundFile(source) as file:
            n_frame, rate = file.frames, file.samplerate
            if n_frame < MAX_LENGTH and _is_cut_off(path, file):
                return 0.0, f"truncated after {n_frame / rate:.2f} s"
        if n_frame >= MAX_LENGTH:  # the header has no length, so all is decoded
            with Recording(path, rate) as recording:
                n_frame = recording.n_sample
    except soundfile.LibsndfileError as error:
        with open_audio(path) as stream:
            if stream.read(len(LFS_POINTER)) == LFS_POINTER:
                return 0.0, "a Git LFS pointer instead of the file: run git lfs pull"
        return 0.0, f"not readable: {error.error_string}"
    except (OSError, ValueError) as error:
        return 0.0, f"not readable: {error}"
    if n_frame == 0:
        return 0.0, "holds no samples"
    duration = n_frame / rate
    if seconds is not None and abs(duration - seconds) > 0.1:
        return 0.0, f"lasts {duration:.2f} s, not {seconds:g} s"
    return duration, ""


def _is_cut_off(path: str, file: soundfile.SoundFile) -> bool:
    if file.format == "OGG":
        return not _ends_ogg_stream(path)
    if file.format in ("WAV", "WAVEX"):
        with open_audio(path) as stream:
            declared = int.from_bytes(stream.read(8)[4:], "little") + 8
            n_byte = stream.seek(0, os.SEEK_END)
        # 0xFFFFFFFF and 0 stand for a length unknown when writing began.
        if declared not in (0xFFFFFFFF + 8, 8) and n_byte < declared - 1:
            return True
    if file.format in SEEKABLE and file.frames:
        file.seek(file.frames - 1)
        return len(file.read(1)) == 0
    return False


def _ends_ogg_stream(path: str) -> bool:
    """Tell whether the last page of an Ogg file says that it is the last, and is
    whole (RFC 3533: byte 5 holds the flags, 26 the number of segments)."""
    with open_audio(path) as stream:
        n_byte = stream.seek(0, os.SEEK_END)
        stream.seek(max(n_byte - 131072, 0))  # a page has 65307 at most
        tail = stream.read()
    page = tail[max(tail.rfind(b"OggS"), 0) :]
    if len(page) < 27 or not page[5] & 4:
        return False
    sizes = page[27 : 27 + page[26]]
    return len(page) >= 27 + page[26] + sum(sizes)


def check_files(
    paths: Iterable[str | Path], seconds: float | None = None
) -> tuple[dict[str, float], dict[str, str]]:
    """Check many files, with a progress bar.

    Arguments
    ---------
    paths : list of str
        The files.
    seconds : float
        How long each should be; None: any length.

    Returns
    -------
    durations : dict
        Path -> seconds, of those that can be used.
    left_out : dict
        Path -> reason, of the others.
    """
    durations, left_out = {}, {}
    for path in tqdm([*paths], desc="checking audio", unit="file", leave=False):
        duration, reason = check_audio(path, seconds)
        if reason:
            left_out[str(path)] = reason
        else:
            durations[str(path)] = duration
    return durations, left_out


def is_prepared(
    folder: str | Path, arguments: Mapping, makes_files: bool = False
) -> bool:
    """Tell whether a folder holds manifests made from these arguments and files.

    Arguments
    ---------
    folder : str
        Where the manifests are.
    arguments : dict
        All that they depend on, as JSON knows it.
    makes_files : bool
        Whether the preparation makes the audio files, and so brings back those that
        have gone.

    Returns
    -------
    bool
        True if there is nothing to do: the arguments are the same, every listed
        file is there, and every file that was left out is as it was then. Within
        ``keep_manifests`` the arguments alone count, except where files are made.

    Example
    -------
    >>> is_prepared("no such folder", {})
    False
    """
    folder = Path(folder)
    if not (folder / RECORD).is_file():
        return False
    record = read_record(folder)
    names = [LEFT_OUT, *(f"{split}.json" for split in record.get("splits", SPLITS))]
    if not all((folder / name).is_file() for name in names):
        return False
    if record.get("arguments") != json.loads(json.dumps(arguments)):
        logger.info("%s was prepared with other options; preparing again.", folder)
        return False
    try:
        listed = listed_files(folder, record)
    except ValueError as error:
        logger.warning("%s; preparing %s again.", error, folder)
        return False
    changed = changed_file(folder, record, listed)
    if changed and _KEPT.get() and not makes_files:
        logger.warning(
            "%s. The run that goes on keeps the manifests in %s%s; a new run prepares "
            "them again.",
            *(changed, folder, _gone(listed)),
        )
        return True
    if changed:
        logger.warning("%s; preparing %s again.", changed, folder)
        return False
    logger.info("%s is prepared already.", folder)
    return True


def read_record(folder: str | Path) -> dict:
    """Return what ``prepared.json`` of a folder says; empty if there is none."""
    path = Path(folder) / RECORD
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} is damaged ({error}); delete it to prepare the corpus again."
        ) from error


def check_options(folder: str | Path, options: Mapping) -> None:
    """Raise ValueError if a folder was prepared with other options than these.

    Arguments
    ---------
    folder : str
        A manifest folder; nothing is known of one without ``prepared.json``.
    options : dict
        Name -> value; those that the record does not name, such as folders, do not
        count.
    """
    arguments = read_record(folder).get("arguments", {})
    for name in sorted(options.keys() & arguments.keys()):
        if options[name] != arguments[name]:
            raise ValueError(
                f"{folder} was prepared with {name}={arguments[name]!r}, not "
                f"{options[name]!r}. Give the corpus's folder to prepare it again, or "
                f"{name}={arguments[name]!r}."
            )


def changed_file(folder: Path, record: Mapping, listed: Iterable[str]) -> str:
    """Tell which file is not as it was when a folder was prepared; empty if none."""
    if "left_out" not in record:
        return f"{folder / RECORD} does not say which files were left out"
    data_root = record.get("data_root", "")
    for path, then in record["left_out"].items():
        if file_state(path) != then:
            return f"{path} was left out and is another now"
    if record.get("audio_files", "") not in ("", audio_files(data_root)):
        return f"clips were not found, and there are other audio files in {data_root}"
    for path in listed:
        if not file_state(path):
            return f"{path} has gone or is empty"
    return ""


def listed_files(folder: Path, record: Mapping) -> list[str]:
    """Return the paths of all audio files in the manifests of a prepared folder.

    Raises
    ------
    ValueError
        If a manifest is damaged; names it.
    """
    wavs = set()
    for split in record.get("splits", SPLITS):
        path = folder / f"{split}.json"
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))
            wavs |= {row["wav"] for row in rows.values()}
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is damaged") from error
    data_root = record.get("data_root", "")
    return [resolve(wav, folder, data_root) for wav in sorted(wavs)]


def _gone(listed: Iterable[str]) -> str:
    """Return, for a message, how many listed files have gone, and some of them."""
    gone = [path for path in listed if not file_state(path)]
    if not gone:
        return ""
    named = ", ".join(gone[:N_NAMED]) + (", ..." if len(gone) > N_NAMED else "")
    return f" (of their files {len(gone)} have gone or are empty: {named})"


def left_out_state(left_out: Iterable[str], data_root: str | Path) -> dict:
    """Return what tells later whether files that were left out can be used now.

    Arguments
    ---------
    left_out : list of str
        Paths; or names of clips for which no file was found, without a folder.
    data_root : str
        Where such files are looked for.

    Returns
    -------
    state : dict
        ``left_out``: path -> ``file_state``; and, for names, ``audio_files``.
    """
    paths = [path for path in left_out if os.path.dirname(path)]
    state = {"left_out": {os.path.abspath(path): file_state(path) for path in paths}}
    if len(paths) < len(list(left_out)):
        state["audio_files"] = audio_files(data_root)
    return state


def audio_files(folder: str | Path) -> str:
    """Return a digest of the names of all audio files below a folder."""
    found = hashlib.sha256()
    for name in sorted(
        os.path.relpath(os.path.join(parent, name), folder)
        for parent, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(AUDIO_SUFFIXES)
    ):
        found.update(name.encode(errors="surrogateescape") + b"\0")
    return found.hexdigest()[:16]


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
    (folder / RECORD).unlink(missing_ok=True)
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


#: What every row must have, besides its task's fields.
FIELDS = ("wav", "duration", "task")

#: What stands for the data's folder where a path begins with it, in SpeechBrain's JSON
#: and CSV.
DATA_ROOT = ("{data_root}", "${data_root}", "$data_root")


def manifest_path(folder: str | Path, split: str) -> Path:
    """Return the manifest of a split, ``<split>.json`` or ``<split>.csv``.

    Arguments
    ---------
    folder : str
        A manifest folder.
    split : str
        ``train``, ``valid`` or ``test``.

    Returns
    -------
    path : Path
        The one that is there.

    Raises
    ------
    FileNotFoundError
        If neither is there.
    ValueError
        If both are.
    """
    paths = [Path(folder) / f"{split}{suffix}" for suffix in (".json", ".csv")]
    found = [path for path in paths if path.is_file()]
    if not found:
        raise FileNotFoundError(
            f"There is no {split}.json or {split}.csv in {folder}; write one, or "
            "prepare the corpus first (pengi prepare)."
        )
    if len(found) > 1:
        raise ValueError(
            f"{folder} holds both {split}.json and {split}.csv; remove the one that "
            "is not to be read."
        )
    return found[0]


class Fault(NamedTuple):
    """What is wrong: its kind (see ``data.check``), with what, and in words."""

    kind: str
    name: str
    message: str


def read_manifest(
    path: str | Path, corpus: str, data_root: str | Path | None = None
) -> dict[str, dict]:
    """Read a SpeechBrain manifest, JSON or CSV, its texts literally.

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
    rows : dict
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


def read_rows(
    path: str | Path, corpus: str, data_root: str | Path | None = None
) -> tuple[dict[str, dict], list[Fault]]:
    """Read the rows of a manifest that are right, and what is wrong with the others.

    Arguments are those of ``read_manifest``.

    Returns
    -------
    rows : dict
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
    folder, data_root = str(path.parent), str(data_root)
    rows, faults = {}, []
    for key, row in read_table(path):
        row_id = f"{corpus}/{key}"
        if row_id in rows:
            message = f"The ID {row_id!r} is in {path} twice; give each row its own."
            faults.append(Fault("duplicate ID", row_id, message))
            continue
        row = {**row, "id": row_id, "corpus": corpus}
        message = _fault_of(row, path)
        if message:
            faults.append(Fault("row", row_id, message))
            continue
        if isinstance(row["duration"], str):
            row["duration"] = float(row["duration"])
        row["wav"] = resolve(row["wav"], folder, data_root)
        rows[row_id] = row
    return rows, faults


def recorded_root(folder: Path) -> Path:
    """Return what ``{data_root}`` stands for in the manifests of a folder."""
    return folder / read_record(folder).get("data_root", "")


def resolve(wav: str, folder: str | Path, data_root: str | Path) -> str:
    """Return the path of an audio file that a manifest names; a URL is one itself.

    Example
    -------
    >>> [resolve(wav, "m", "/data") for wav in ("{data_root}/{a}.wav", "$b.wav")]
    ['/data/{a}.wav', 'm/$b.wav']
    """
    if is_url(wav):
        return wav
    for name in DATA_ROOT:
        if wav.startswith(name):
            return os.path.join(data_root, wav.removeprefix(name).lstrip("/\\"))
    return os.path.join(folder, wav)


def original_of(row: Mapping) -> str:
    """Return the path that a row's clip has, or had before ``pengi shard`` stored it.

    It tells which rows are of the same clip, whether they name a file or a shard.

    Example
    -------
    >>> original_of({"wav": "/s/a.tar::0_x.wav", "original": "/data/x.wav"})
    '/data/x.wav'
    """
    return str(row.get("original") or row["wav"])


def _fault_of(row: Mapping, path: Path) -> str:
    """Return what is wrong with a row; empty if it is right."""
    what = f"Row {row['id']!r} of"
    missing = [name for name in FIELDS if row.get(name) in (None, "")]
    if missing:
        return (
            f"{what} {path} has no {', '.join(missing)}; every row needs "
            f"{', '.join(FIELDS)} and its task's fields."
        )
    for name in ("wav", "task"):
        if not isinstance(row[name], str):
            return f"{what} {path} has the {name} {row[name]!r}; it must be a text."
    try:
        duration = float(row["duration"])
    except (TypeError, ValueError):
        duration = math.nan
    if not 0 < duration < math.inf:
        return (
            f"{what} {path} has the duration {row['duration']!r}; give the clip's "
            "length in seconds."
        )
    return ""
