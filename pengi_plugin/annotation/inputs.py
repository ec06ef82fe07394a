"""A manifest, lines of paths, or shards in; the paths of recordings out, each once."""

from collections.abc import Iterable
from pathlib import Path

from pengi_plugin.data.manifest import AUDIO_SUFFIXES, recorded_root, resolve
from pengi_plugin.data.shards import members_of
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


def shards_of(folder: str | Path) -> list[str]:
    """Return the tars of a folder and its subfolders, sorted."""
    return sorted(str(path) for path in Path(folder).rglob("*.tar") if path.is_file())


def of_shards(shards: Iterable[str | Path]) -> list[str]:
    """Return references to the recordings in tars: those of ``pengi shard``, or any.

    Arguments
    ---------
    shards : list of str
        Uncompressed tars. Where one has no index, the members whose names end as
        those of audio files do are its recordings.

    Returns
    -------
    references : list of str
        See ``data.shards``.

    Raises
    ------
    FileNotFoundError
        If a tar is not there.
    ValueError
        If one is none, is damaged, or there is no recording in any.
    """
    shards = list(shards)
    found = [
        member
        for shard in shards
        for member in members_of(shard)
        if member.lower().endswith(AUDIO_SUFFIXES)
    ]
    if not found:
        raise ValueError(
            f"There is no recording in {', '.join(map(str, shards))} "
            f"({', '.join(AUDIO_SUFFIXES)})."
        )
    return found
