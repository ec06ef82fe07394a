"""A prepared folder in; whether its manifests still are what they were made from."""

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np

from pengi_plugin.data.file_state import file_state
from pengi_plugin.data.manifest.arrow import open_arrow, text
from pengi_plugin.data.manifest.audio_files import audio_files
from pengi_plugin.data.manifest.form import SPLITS, resolve

logger = logging.getLogger(__name__)

RECORD = "prepared.json"
LEFT_OUT = "left_out.csv"

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
        listed = ListedFiles(folder, record)
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


class ListedFiles:
    """The paths of all audio files in the manifests of a prepared folder, each once.

    Arguments
    ---------
    folder : Path
        The folder.
    record : dict
        What its ``prepared.json`` says.

    Raises
    ------
    ValueError
        If a manifest is damaged; names it.
    """

    def __init__(self, folder: Path, record: Mapping):
        self.folder, self.data_root = folder, record.get("data_root", "")
        self.files = []
        for split in record.get("splits", SPLITS):
            path = folder / f"{split}.json"
            try:
                self.files.append(open_arrow(path))
            except ValueError as error:
                raise ValueError(f"{path} is damaged") from error
            if any(column.null_count for column in self.files[-1].column("wav")):
                raise ValueError(f"{path} is damaged")

    def __iter__(self) -> Iterator[str]:
        clips = [np.zeros(0, np.uint64), *(file.numbers("clip") for file in self.files)]
        _, first = np.unique(np.concatenate(clips), return_index=True)
        first, start = np.sort(first), 0
        for file in self.files:
            some = first[(start <= first) & (first < start + len(file))] - start
            for (wav,) in file.rows(some, ("wav",)):
                yield resolve(text(wav), self.folder, self.data_root)
            start += len(file)


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


def recorded_root(folder: Path) -> Path:
    """Return what ``{data_root}`` stands for in the manifests of a folder."""
    return folder / read_record(folder).get("data_root", "")
