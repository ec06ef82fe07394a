"""A name in, what it names out: a local file or folder, a web address or a hub name."""

import os
from pathlib import Path


def is_local(source: str | os.PathLike) -> bool:
    """Tell a local path from a hub name (``name`` or ``owner/name``).

    Raises
    ------
    FileNotFoundError
        If ``source`` can only be a path (absolute, starts with a dot or the
        home sign, or more than one slash) and nothing is there.

    Example
    -------
    >>> is_local("openai/clip-vit-base-patch16")
    False
    """
    path = Path(source).expanduser()
    if path.exists():
        return True
    text = str(source)
    if path.is_absolute() or text.startswith((".", "~")) or text.count("/") > 1:
        raise FileNotFoundError(
            f"{text} is neither a local path that exists nor a hub name; "
            "check the spelling, or give the folder's full path."
        )
    return False


def is_remote(path: str) -> bool:
    """Tell a web address or a hub file (``owner/name/file``) from a local path.

    Example
    -------
    >>> [is_remote(path) for path in ("https://a.org/b.wav", "me/model/b.wav", "b.wav")]
    [True, True, False]
    """
    if path.startswith(("http://", "https://")):
        return True
    first = path.split("/")[0]
    is_path = first in ("", ".", "..", "~") or Path(first).exists()
    return path.count("/") >= 2 and not is_path
