"""Lists of recordings that are in other corpora: files in, IDs to leave out.

Two forms are read: WavCaps' own JSON (``{"AudioSet": [...], "FreeSound": [...]}``) and
the CSV of ``aac-datasets`` (columns ``index`` and ``id``). IDs are text: read as
numbers they equal none.
"""

import csv
import io
import json
import zlib
from collections.abc import Iterable
from pathlib import Path

from pengi_plugin.data.preparation import read_text

#: Lists that are looked for. Those of aac-datasets are complete; WavCaps' own miss 18
#: test clips of AudioCaps and 109 of ClothoAQA. ``ubs8k`` is how a documentation
#: spells ``ub8k``.
LISTS = (
    "blacklist_audiocaps.full.csv",
    "blacklist_clotho.full.v2.csv",
    "blacklist_exclude_all_ac.json",
    "blacklist_exclude_test_ac.json",
    "blacklist_exclude_ub8k_esc50_vggsound.json",
    "blacklist_exclude_ubs8k_esc50_vggsound.json",
)


def find_lists(folder: str | Path) -> list[Path]:
    """Return the lists that are in a folder or below it."""
    found = {path.name: path for path in sorted(Path(folder).rglob("blacklist_*.*"))}
    return [found[name] for name in LISTS if name in found]


def list_digests(paths: Iterable[str | Path]) -> dict[str, int]:
    """Return path -> checksum, which says whether a list has changed."""
    return {str(path): zlib.crc32(Path(path).read_bytes()) for path in paths}


def read_list(path: str | Path) -> dict[str, set[str]]:
    """Read one list.

    Arguments
    ---------
    path : str
        JSON or CSV.

    Returns
    -------
    ids : dict
        ``AudioSet`` -> IDs of YouTube, ``FreeSound`` -> numbers of Freesound, as text.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it has another form.
    """
    path = Path(path)
    found = {"AudioSet": set(), "FreeSound": set()}
    if path.suffix == ".json":
        content = json.loads(read_text(path))
        if not isinstance(content, dict) or not content.keys() & found.keys():
            raise ValueError(f"{path} has neither 'AudioSet' nor 'FreeSound'.")
        names = [(key, name) for key in found for name in content.get(key, ())]
    else:
        table = csv.DictReader(io.StringIO(read_text(path), newline=""))
        if "id" not in (table.fieldnames or ()):
            raise ValueError(f"{path} has no column 'id'; it has {table.fieldnames}.")
        names = [(None, line["id"]) for line in table]
    for key, name in names:
        name = str(name)
        if key == "AudioSet" or not name.isdecimal():
            found["AudioSet"].add(youtube_id(name))
        else:
            found["FreeSound"].add(name)
    return found


def youtube_id(name: str) -> str:
    """Return the ID of a video from ``Y<ID>.wav``.

    Example
    -------
    >>> youtube_id("Yr1nicOVtvkQ.wav")
    'r1nicOVtvkQ'
    """
    return name.removesuffix(".wav").removesuffix(".flac").removeprefix("Y")
