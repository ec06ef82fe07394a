"""What a manifest and its rows must be."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pengi_plugin.data.shards import is_url

SPLITS = ("train", "valid", "test")

#: What every row must have, besides its task's fields.
FIELDS = ("wav", "duration", "task")

#: What stands for the data's folder where a path begins with it, in SpeechBrain's JSON
#: and CSV.
DATA_ROOT = ("{data_root}", "${data_root}", "$data_root")


def manifests_of(folder: str | Path, split: str) -> list[Path]:
    """Return those of ``<split>.json`` and ``<split>.csv`` that are in a folder."""
    paths = [Path(folder) / f"{split}{suffix}" for suffix in (".json", ".csv")]
    return [path for path in paths if path.is_file()]


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
    found = manifests_of(folder, split)
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


def normalize_root(wav: str) -> str:
    """Return the path of a ``wav`` with the first name of the data's folder.

    Two paths that differ in that name alone are of one file.

    Example
    -------
    >>> normalize_root("$data_root/a.wav"), normalize_root("a.wav")
    ('{data_root}/a.wav', 'a.wav')
    """
    for name in DATA_ROOT:
        if wav.startswith(name):
            return f"{DATA_ROOT[0]}/" + wav.removeprefix(name).lstrip("/\\")
    return wav


def fault_of(row: Mapping) -> str:
    """Return what is wrong with a row, to be said after its name; empty if nothing.

    Example
    -------
    >>> fault_of({"wav": 7, "duration": 1, "task": "x"})
    'has the wav 7; it must be a text.'
    """
    missing = [name for name in FIELDS if row.get(name) in (None, "")]
    if missing:
        return (
            f"has no {', '.join(missing)}; every row needs {', '.join(FIELDS)} and "
            "its task's fields."
        )
    for name in ("wav", "task"):
        if not isinstance(row[name], str):
            return f"has the {name} {row[name]!r}; it must be a text."
    if not isinstance(row.get("source", ""), str | None):
        return (
            f"has the source {row['source']!r}; it must be a text with blanks between "
            "several, or its recording cannot be compared with test sets."
        )
    try:
        duration = float(row["duration"])
    except (OverflowError, TypeError, ValueError):
        duration = math.nan
    if not 0 < duration < math.inf:
        return (
            f"has the duration {row['duration']!r}; give the clip's length in seconds."
        )
    return ""
