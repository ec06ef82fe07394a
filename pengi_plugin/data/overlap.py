"""Rows to train on and rows of test sets in, which of the former hold test clips out.

Two corpora share a recording where rows of both have a ``source`` of the same archive
and ID. Sources are a column of the manifests: ``youtube:<video>:<start in s>``,
``youtube:<video>``, ``freesound:<number>``, ``bbc:<ID>``, ``clotho:<file name>`` and so
on; a row may have several, with blanks between. A source with a start covers the
seconds from there on that its clip lasts, and two such sources overlap where their
seconds do; where one of them states no start, the ID alone decides. Two rows with the
same audio file overlap in any case.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from pengi_plugin.data.manifest import (
    SPLITS,
    Rows,
    as_rows,
    manifest_path,
    original_of,
    read_manifest,
)

#: Changed with what counts as an overlap, so that runs choose their rows again.
RULES = 2

#: A source with a start: of videos alone, as IDs elsewhere may end so too.
VIDEO_AND_START = re.compile(r"(youtube:.+):(\d+(?:\.\d+)?)")

#: What names of files add to IDs: zeros before a number of Freesound, and a ``Y``
#: before the eleven characters of a video.
SPELLINGS = (
    re.compile(r"(?<=^freesound:)0+(\d+)$"),
    re.compile(r"(?<=^youtube:)Y([\w-]{11})$"),
)


class Source(NamedTuple):
    """A recording, ``archive:ID``, and at which second of it a clip begins."""

    recording: str
    start: float | None = None


def read_sources(text: str) -> list[Source]:
    """Read the ``source`` of a row.

    Example
    -------
    >>> read_sources("freesound:7 clotho:rain_wav")
    [Source(recording='freesound:7', start=None), \
Source(recording='clotho:rain_wav', start=None)]
    >>> read_sources("youtube:-a_bcdefghi:30")
    [Source(recording='youtube:-a_bcdefghi', start=30.0)]
    >>> read_sources("bbc:NHU:05001")
    [Source(recording='bbc:NHU:05001', start=None)]
    >>> read_sources("Freesound:007 YouTube:Y-a_bcdefghi:30")
    [Source(recording='freesound:7', start=None), \
Source(recording='youtube:-a_bcdefghi', start=30.0)]
    """
    return [_read_source(word) for word in text.split()]


def _read_source(word: str) -> Source:
    archive, colon, name = word.partition(":")
    word = f"{archive.lower()}{colon}{name}"
    match = VIDEO_AND_START.fullmatch(word)
    recording = match[1] if match else word
    for spelling in SPELLINGS:
        recording = spelling.sub(r"\1", recording)
    return Source(recording, float(match[2]) if match else None)


#: What IDs of archives look like.
FORMS = {
    "freesound": re.compile(r"freesound:\d+"),
    "youtube": re.compile(r"youtube:[\w-]{11}"),
    "http": re.compile("(?!)"),
    "https": re.compile("(?!)"),
}


def odd_sources(text: str) -> list[str]:
    """Return the sources of a row that no row of a corpus has, as far as is known.

    Example
    -------
    >>> odd_sources("freesound:1.wav youtube:-a_bcdefghi:30 https://x.org mine:7 rain")
    ['freesound:1.wav', 'https://x.org', 'rain']
    """
    odd = []
    for word in text.split():
        recording = _read_source(word).recording
        archive, colon, _ = recording.partition(":")
        form = FORMS.get(archive)
        if not colon or (form and not form.fullmatch(recording)):
            odd.append(word)
    return odd


class HeldOut:
    """Clips of test sets, to be found by their sources and their audio files.

    Example
    -------
    >>> held_out = HeldOut()
    >>> clip = {"wav": "a.wav", "source": "youtube:abc:30", "duration": 10}
    >>> held_out.add([clip], "test set")
    >>> held_out.names_of({**clip, "wav": "b.wav", "source": "youtube:abc:39"})
    {'test set'}
    >>> held_out.names_of({**clip, "wav": "b.wav", "source": "youtube:abc:40"})
    set()
    """

    def __init__(self):
        self._clips = defaultdict(set)  # recording -> (start, seconds, name)
        self._files = defaultdict(set)  # audio file -> names

    def add(self, rows: Iterable[Mapping], name: str) -> None:
        """Add the clips of a test set: ``wav``, ``duration`` and ``source``."""
        for row in rows:
            self._files[real_path(original_of(row))].add(name)
            for source in read_sources(row.get("source") or ""):
                clip = source.start, row["duration"], name
                self._clips[source.recording].add(clip)

    def names_of(self, row: Mapping) -> set[str]:
        """Return the names of the test sets that a row shares a recording with."""
        names = set(self._files.get(real_path(original_of(row)), ()))
        for recording, start in read_sources(row.get("source") or ""):
            end = None if start is None else start + row["duration"]
            for other, seconds, name in self._clips.get(recording, ()):
                either = start is None or other is None
                if either or (start < other + seconds and other < end):
                    names.add(name)
        return names


def real_path(path: str) -> str:
    """Return an audio file's path without links, so that two paths can be compared."""
    if os.path.islink(path):
        return os.path.realpath(path)
    folder, name = os.path.split(path)
    return os.path.join(_real_folder(folder), name)


@cache  # a corpus has far fewer folders than files
def _real_folder(path: str) -> str:
    return os.path.realpath(path)


def find_overlaps(
    rows: Mapping[str, Mapping], held_out: HeldOut
) -> dict[int, set[str]]:
    """Return position of a training row -> test sets that it shares a recording with.

    Arguments
    ---------
    rows : Rows or dict
        ID -> manifest row, with ``wav``, ``duration`` and, if known, ``source``.
    held_out : HeldOut
        The test sets.

    Returns
    -------
    overlaps : dict
        Without the rows that share none.
    """
    found = {}
    for position, row in enumerate(_clips_of(rows, "comparing with test sets")):
        names = held_out.names_of(row)
        if names:
            found[position] = names
    return found


def _clips_of(rows: Mapping[str, Mapping], what: str) -> Iterator[dict]:
    """Yield what overlaps depend on of each row, with a progress bar for many."""
    columns = ("wav", "duration", "source", "original")
    bar = tqdm(
        as_rows(rows).cells(*columns), what, len(rows), leave=False, unit="row", delay=5
    )
    return (dict(zip(columns, cells, strict=True)) for cells in bar)


def count_overlaps(
    rows: Mapping[str, Mapping], overlaps: Mapping[int, set[str]]
) -> Counter:
    """Return (training corpus, test set) -> how many rows they share.

    A row that is in two test sets counts in both.
    """
    codes, corpora = as_rows(rows).categories("corpus")
    return Counter(
        (corpora[codes[position]], name)
        for position, names in overlaps.items()
        for name in names
    )


def overlap_table(counts: Mapping[tuple[str, str], int], what: str) -> list[str]:
    """Return the lines of a table of counts.

    Arguments
    ---------
    counts : dict
        Of ``count_overlaps``.
    what : str
        Head of the third column: what was done with the rows.

    Example
    -------
    >>> print(*overlap_table({("wavcaps", "clotho"): 3}, "rows left out"), sep="\\n")
    training corpus  test set  rows left out
    wavcaps          clotho    3
    """
    lines = [("training corpus", "test set", what)]
    lines += [(*pair, str(n)) for pair, n in sorted(counts.items())]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]


def read_held_out(
    paths: Iterable[str | Path], trained_on: Iterable[str | Path] = ()
) -> list[tuple[str, Rows]]:
    """Read the test sets that a list of folders and manifests names.

    Arguments
    ---------
    paths : iterable of str
        A manifest; or a folder: all splits in it and the folders below it.
    trained_on : iterable of str
        Manifest folders that are passed over: those of the corpora that are trained
        on, whose test rows are known.

    Returns
    -------
    test_sets : list of (str, Rows)
        Name of the corpus (its folder) and its rows by ID, a manifest each.

    Raises
    ------
    FileNotFoundError
        If there is no such path, or no manifest in it.
    """
    own = {os.path.realpath(folder) for folder in trained_on}
    manifests = {}  # each once, in order
    for path in map(Path, paths):
        found = [path] if path.is_file() else _manifests_below(path, own)
        is_own = any(Path(folder).is_relative_to(path.resolve()) for folder in own)
        if not found and not is_own:
            raise FileNotFoundError(
                f"held_out names {path}, which is no manifest and no folder of "
                "manifests of a test set; prepare the set first (pengi prepare)."
            )
        manifests |= dict.fromkeys(found)
    return [
        (path.resolve().parent.name, read_manifest(path, path.resolve().parent.name))
        for path in manifests
    ]


def folders_below(folder: Path) -> Iterator[Path]:
    """Yield all folders below one, links to folders too, each once."""
    seen = {os.path.realpath(folder)}
    for parent, names, _ in os.walk(folder, followlinks=True):
        real = {name: os.path.realpath(os.path.join(parent, name)) for name in names}
        names[:] = [name for name in sorted(names) if real[name] not in seen]
        seen |= {real[name] for name in names}
        yield from (Path(parent, name) for name in names)


def _manifests_below(folder: Path, own: set[str]) -> list[Path]:
    found = []
    for parent in [
        folder,
        *sorted(folders_below(folder)),
    ]:
        for split in () if os.path.realpath(parent) in own else SPLITS:
            if any((parent / f"{split}.{kind}").is_file() for kind in ("json", "csv")):
                found.append(manifest_path(parent, split))
    return found
