"""Files and folders that are written whole or not at all."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file under another name, then give it its own: never half a file."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    content = content.encode("utf-8") if isinstance(content, str) else content
    part.write_bytes(content)
    os.replace(part, path)


@contextlib.contextmanager
def new_folder(path: str | os.PathLike, replaces: str | None = None) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` that becomes it in the end.

    Arguments
    ---------
    path : str
        The folder to be; must not exist, or be empty.
    replaces : str
        Name of a file: a folder that holds it may be there already and is replaced.

    Yields
    ------
    folder : Path
        Write here. After an error the folder is gone and ``path`` untouched.

    Example
    -------
    >>> goal = getfixture("tmp_path") / "goal"
    >>> with new_folder(goal) as folder:
    ...     _ = (folder / "file").write_text("whole")
    >>> [file.name for file in goal.iterdir()]
    ['file']
    """
    path = Path(path).expanduser().absolute()
    is_replaced = replaces is not None and (path / replaces).exists()
    if not is_replaced and path.exists() and (path.is_file() or any(path.iterdir())):
        raise FileExistsError(
            f"{path} is there already and not empty; remove it or give another folder."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    unfinished.mkdir()
    try:
        yield unfinished
        mode = unfinished.stat().st_mode & 0o666  # what the umask leaves
        for file in unfinished.iterdir():
            file.chmod(mode)  # safetensors lets the owner alone read
        if path.exists():
            shutil.rmtree(path)
        unfinished.rename(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
