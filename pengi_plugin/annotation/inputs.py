"""A manifest, or lines of paths, in; the paths of recordings out, each once."""

from collections.abc import Iterable
from pathlib import Path

from pengi_plugin.data.manifest import recorded_root, resolve
from pengi_plugin.data.table import read_table


def listed(lines: Iterable[str]) -> list[str]:
    """Return the paths of a list with one path per line; blank lines do not count.

    Example
    -------
    >>> listed(["a.wav\\n", "\\n", "b.wav\\n", "a.wav\\n"])
    ['a.wav', 'b.wav']
    """
    paths = (line.rstrip("\r\n") for line in lines)
    return list(dict.fromkeys(path for path in paths if path.strip()))


def of_manifest(path: str | Path) -> list[str]:
    """Return the recordings of a manifest, JSON or CSV.

    Arguments
    ---------
    path : str
        A manifest; of its rows only ``wav`` is needed. Paths are resolved as
        ``data.manifest.read_manifest`` resolves them.

    Returns
    -------
    paths : list of str
        A recording of several rows is there once.

    Raises
    ------
    ValueError
        If the file is no manifest, or a row has no ``wav``.
    """
    path = Path(path)
    data_root = str(recorded_root(path.parent))
    paths = {}
    for row_id, row in read_table(path):
        wav = row.get("wav")
        if not isinstance(wav, str) or not wav:
            raise ValueError(
                f"Row {row_id!r} of {path} has the wav {wav!r}; it must be a path."
            )
        paths[resolve(wav, path.parent, data_root)] = None
    return list(paths)
