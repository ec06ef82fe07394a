"""Package data: the name of an asset in, the folder with its files out.

``mini_lm`` is the language model of the embedded default (its README is its model
card); ``released`` holds the templates from which converted folders are written.
"""

from pathlib import Path


def folder(name: str) -> str:
    """Return the folder of an asset, for ``!apply:pengi_plugin.assets.folder``.

    Arguments
    ---------
    name : str
        Name of the asset, for instance ``mini_lm``.

    Returns
    -------
    str
        Path of its folder.

    Raises
    ------
    ValueError
        If there is no such asset.

    Example
    -------
    >>> folder("mini_lm").endswith("assets/mini_lm")
    True
    """
    root = Path(__file__).parent
    path = root / name
    if not path.is_dir():
        known = sorted(p.name for p in root.iterdir() if (p / "README.md").exists())
        raise ValueError(f"There is no asset {name!r}; there are {known}.")
    return str(path)
