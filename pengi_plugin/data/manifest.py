"""Manifests: audio files checked, manifests written once and whole, and read.

A manifest folder holds ``train``, ``valid`` and ``test`` in SpeechBrain's form, JSON
or CSV. One that ``pengi prepare`` wrote also holds ``left_out.csv`` (which files are
in none of them, and why) and ``prepared.json`` (the arguments they were made from).
Paths start with ``{data_root}``, so that a manifest can be moved; ``prepared.json``
holds the folder it stands for.
"""

import csv
import io
import json
import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import soundfile
from speechbrain.dataio.dataio import load_data_csv, load_data_json
from tqdm import tqdm

from pengi_plugin.storage.atomic import write_file

logger = logging.getLogger(__name__)

SPLITS = ("train", "valid", "test")
RECORD = "prepared.json"
LEFT_OUT = "left_out.csv"

#: Formats whose last sample can be reached without decoding the whole file.
SEEKABLE = {"WAV", "WAVEX", "FLAC", "AIFF", "AU", "W64", "RF64"}

#: How the text begins that Git LFS leaves where a file was not fetched.
LFS_POINTER = b"version https://git-lfs"


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
    path = Path(path)
    if not path.is_file():
        return 0.0, "missing"
    if path.stat().st_size == 0:
        return 0.0, "empty file"
    try:
        with soundfile.SoundFile(str(path)) as file:
            duration = file.frames / file.samplerate
            if _is_cut_off(path, file):
                return 0.0, f"truncated after {duration:.2f} s"
            if file.frames == 0:
                return 0.0, "holds no samples"
    except soundfile.LibsndfileError as error:
        with path.open("rb") as stream:
            if stream.read(len(LFS_POINTER)) == LFS_POINTER:
                return 0.0, "a Git LFS pointer instead of the file: run git lfs pull"
        return 0.0, f"not readable: {error.error_string}"
    if seconds is not None and abs(duration - seconds) > 0.1:
        return 0.0, f"lasts {duration:.2f} s, not {seconds:g} s"
    return duration, ""


def _is_cut_off(path: Path, file: soundfile.SoundFile) -> bool:
    if file.format == "OGG":
        return not _ends_ogg_stream(path)
    if file.format in ("WAV", "WAVEX"):
        with path.open("rb") as stream:
            declared = int.from_bytes(stream.read(8)[4:], "little") + 8
        # 0xFFFFFFFF and 0 stand for a length unknown when writing began.
        if declared not in (0xFFFFFFFF + 8, 8) and path.stat().st_size < declared - 1:
            return True
    if file.format in SEEKABLE and file.frames:
        file.seek(file.frames - 1)
        return len(file.read(1)) == 0
    return False


def _ends_ogg_stream(path: Path) -> bool:
    """Tell whether the last page of an Ogg file says that it is the last, and is
    whole (RFC 3533: byte 5 holds the flags, 26 the number of segments)."""
    with path.open("rb") as stream:
        stream.seek(max(path.stat().st_size - 131072, 0))  # a page has 65307 at most
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


def is_prepared(folder: str | Path, arguments: Mapping) -> bool:
    """Tell whether a folder holds manifests made from these arguments.

    Arguments
    ---------
    folder : str
        Where the manifests are.
    arguments : dict
        All that they depend on, as JSON knows it.

    Returns
    -------
    bool
        True if there is nothing to do.

    Example
    -------
    >>> is_prepared("no such folder", {})
    False
    """
    folder = Path(folder)
    if not (folder / RECORD).is_file():
        return False
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    names = [LEFT_OUT, *(f"{split}.json" for split in record.get("splits", SPLITS))]
    done = record["arguments"] == json.loads(json.dumps(arguments)) and all(
        (folder / name).is_file() for name in names
    )
    if done:
        logger.info("%s is prepared already.", folder)
    return done


def write_manifests(
    folder: str | Path,
    splits: Mapping[str, Mapping[str, Mapping]],
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
        Those of ``train``, ``valid`` and ``test`` that the corpus has -> ID -> row.
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
    first = "train" if "train" in splits else next(iter(splits))
    if not splits[first]:
        use = "training" if first == "train" else f"the {first} split"
        raise ValueError(
            f"No clip under {data_root} can be used for {use}; see "
            f"{folder / LEFT_OUT} for the reasons."
        )
    for split, rows in splits.items():
        write_file(folder / f"{split}.json", json.dumps(rows, indent=1))
    record = {"data_root": str(Path(data_root).resolve()), "arguments": arguments}
    record["splits"] = list(splits)
    write_file(folder / RECORD, json.dumps(record, indent=1))
    sizes = ", ".join(f"{len(rows)} {split}" for split, rows in splits.items())
    logger.info("Wrote %s: %s rows.", folder, sizes)


#: What every row must have, besides its task's fields.
FIELDS = ("wav", "duration", "task")


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


def read_manifest(
    path: str | Path, corpus: str, data_root: str | Path | None = None
) -> dict[str, dict]:
    """Read a SpeechBrain manifest, JSON or CSV.

    Arguments
    ---------
    path : str
        The file. Empty cells of a CSV file are fields that the row does not have.
    corpus : str
        Name of the corpus, the first part of its rows' IDs.
    data_root : str
        What ``{data_root}`` stands for; None: what ``prepared.json`` beside the
        manifest says, else the manifest's folder.

    Returns
    -------
    rows : dict
        ``corpus/ID`` -> row, with ``id`` and ``corpus`` added.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a row lacks ``wav``, ``duration`` or ``task``, or its duration is no
        positive number of seconds.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no manifest {path}; prepare the corpus first (pengi prepare)."
        )
    if data_root is None:
        record = path.with_name("prepared.json")
        found = json.loads(record.read_text()) if record.is_file() else {}
        data_root = found.get("data_root", path.parent)
    is_csv = path.suffix == ".csv"
    load = load_data_csv if is_csv else load_data_json
    rows = {}
    for key, row in load(path, {"data_root": str(data_root)}).items():
        row_id = f"{corpus}/{key}"
        if is_csv:
            row = {name: value for name, value in row.items() if value != ""}
        rows[row_id] = {**row, "id": row_id, "corpus": corpus}
        _check_row(rows[row_id], path)
    return rows


def _check_row(row: Mapping, path: Path) -> None:
    missing = [name for name in FIELDS if row.get(name) in (None, "")]
    if missing:
        raise ValueError(
            f"Row {row['id']!r} of {path} has no {', '.join(missing)}; every row needs "
            f"{', '.join(FIELDS)} and its task's fields."
        )
    try:
        duration = float(row["duration"])
    except (TypeError, ValueError):
        duration = math.nan
    if not 0 < duration < math.inf:
        raise ValueError(
            f"Row {row['id']!r} of {path} has the duration {row['duration']!r}; give "
            "the clip's length in seconds."
        )
