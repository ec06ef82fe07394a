"""One writer per folder: a second process that wants to write there is refused."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no flock; a folder is not guarded there
    fcntl = None

LOCK_FILE = ".lock"


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
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_FILE
    with open(path, "a+", encoding="utf-8") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                raise BlockingIOError(
                    f"{folder} is being written by {_holder(file.read())}. Wait for it "
                    "to end, stop it, or give another output_folder."
                ) from error
        file.truncate(0)
        json.dump({"pid": os.getpid(), "host": socket.gethostname()}, file)
        file.flush()
        yield


def _holder(text: str) -> str:
    try:
        holder = json.loads(text)
        return f"process {holder['pid']} on {holder['host']}"
    except (ValueError, KeyError):
        return "another process"
