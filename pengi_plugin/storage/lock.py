"""One writer per folder: a second process that wants to write there is refused."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

try:
    import fcntl
except ImportError:  # Windows has no flock; a folder is not guarded there
    fcntl = None

LOCK_FILE = ".lock"

#: Folders that this process holds until it ends, and their open lock files.
_held: dict[Path, TextIO] = {}


@contextlib.contextmanager
def only_writer(folder: str | os.PathLike) -> Iterator[None]:
    """Hold a folder for this process while the block runs.

    The operating system lets go of the folder when the process ends, however it
    ends, so that nothing has to be cleaned up after a crash.

    Arguments
    ---------
    folder : str
        Made if it is not there.

    Raises
    ------
    BlockingIOError
        If another living process holds the folder; names it.

    Example
    -------
    >>> with only_writer(getfixture("tmp_path")):
    ...     pass
    """
    with _locked(Path(folder)):
        yield


def hold_folder(folder: str | os.PathLike) -> None:
    """Hold a folder for this process until it ends; a second call does nothing.

    Arguments
    ---------
    folder : str
        Made if it is not there.

    Raises
    ------
    BlockingIOError
        If another living process holds the folder; names it.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> hold_folder(folder)
    >>> hold_folder(folder)
    """
    folder = Path(folder).resolve()
    if folder in _held:
        return
    file = _held[folder] = _locked(folder)
    # A worker that outlives its killed parent must not hold the folder for it.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=file.close)


def _locked(folder: Path) -> TextIO:
    """Return the folder's lock file, open and locked; closing it unlocks."""
    folder.mkdir(parents=True, exist_ok=True)
    file = open(folder / LOCK_FILE, "a+", encoding="utf-8")  # noqa: SIM115 (stays open)
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.truncate(0)
        json.dump({"pid": os.getpid(), "host": socket.gethostname()}, file)
        file.flush()
    except BlockingIOError as error:
        file.seek(0)
        holder = _holder(file.read())
        file.close()
        raise BlockingIOError(
            f"{folder} is being written by {holder}. Wait for it to end, stop it, or "
            "give another output_folder."
        ) from error
    return file


def _holder(text: str) -> str:
    try:
        holder = json.loads(text)
        return f"process {holder['pid']} on {holder['host']}"
    except (ValueError, KeyError):
        return "another process"
