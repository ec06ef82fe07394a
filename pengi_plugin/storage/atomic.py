"""Files and folders that are written whole or not at all."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path


def _own() -> str:
    """Return a name that no other writer has: process numbers repeat in containers."""
    return f"{secrets.token_hex(4)}.{os.getpid()}"


@contextlib.contextmanager
def new_file(path: str | os.PathLike) -> Iterator[Path]:
    """Yield the path of a temporary file that becomes ``path`` in the end.

    For writers that take a path, such as those of safetensors. ``write_file`` is
    simpler where the content is at hand.

    Arguments
    ---------
    path : str
        The file to write, in a folder that exists; what was there stays until the
        new one is complete.

    Yields
    ------
    unfinished : Path
        Write here. After an error this file is gone and ``path`` is as it was.

    Example
    -------
    >>> path = getfixture("tmp_path") / "file"
    >>> with new_file(path) as unfinished:
    ...     _ = unfinished.write_text("whole")
    >>> path.read_text()
    'whole'
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{_own()}.unfinished")
    try:
        unfinished.touch()
        mode = unfinished.stat().st_mode
        yield unfinished
        unfinished.chmod(mode)  # safetensors lets the owner alone read
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_file(path: str | os.PathLike, content: str | bytes) -> None:
    """Write a file whole; text is encoded as UTF-8."""
    with new_file(path) as unfinished:
        if isinstance(content, str):
            content = content.encode("utf-8")
        unfinished.write_bytes(content)


@contextlib.contextmanager
def new_folder(path: str | os.PathLike, replaces: str | None = None) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` that becomes it in the end.

    Arguments
    ---------
    path : str
        The folder to write; must not exist, or be empty.
    replaces : str
        Name of a file: a folder that holds it may be there already and is replaced.

    Yields
    ------
    unfinished : Path
        Write here. After an error this folder is gone and ``path`` is as it was.

    Raises
    ------
    FileExistsError
        If ``path`` is a file, or a folder that is not empty.

    Example
    -------
    >>> path = getfixture("tmp_path") / "folder"
    >>> with new_folder(path) as unfinished:
    ...     _ = (unfinished / "file").write_text("whole")
    >>> [file.name for file in path.iterdir()]
    ['file']
    """
    path = Path(path).expanduser().absolute()
    is_replaced = replaces is not None and (path / replaces).exists()
    if not is_replaced and path.exists() and (path.is_file() or any(path.iterdir())):
        raise FileExistsError(
            f"{path} is there already and not empty; remove it or give another folder."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{_own()}.unfinished")
    replaced = path.with_name(f".{path.name}.{_own()}.replaced")
    unfinished.mkdir()
    try:
        yield unfinished
        mode = unfinished.stat().st_mode & 0o666  # what the umask leaves
        for file in unfinished.rglob("*"):
            if file.is_file():
                file.chmod(mode)  # safetensors lets the owner alone read
        if path.exists():
            path.rename(replaced)
        unfinished.rename(path)
    finally:
        if replaced.exists() and not path.exists():
            replaced.rename(path)
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)
