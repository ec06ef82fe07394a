"""FMA: up to 106,574 tracks of the Free Music Archive, with genres from a tree of 161.

Layout: ``fma_metadata/tracks.csv`` and ``genres.csv`` (or both beside the audio), and
one of ``fma_small/``, ``fma_medium/``, ``fma_large/`` and ``fma_full/`` as unpacked:
``000/000002.mp3``. Reading MP3 needs libsndfile 1.1 or later.

Rows are ``music_analysis``; the attributes are the names of a track's genres, the roots
of the tree first: ``Folk, Psych-Folk``. The fields ``genre`` (the official single root,
where a track has one), ``language`` (where it is stated) and ``track_licence`` are
there for templates. How the paper's answer names genre and language, and which subset
it used, is not known: this wording is ours.

Traps: the table has three lines of header, and fields with commas, HTML and line
breaks; a subset contains the smaller ones; tracks without any genre have no row; some
MP3 files hold no audio (099134, 108925 and 133297 of ``small``) or are short.

Certain, from the published files: the tables' form and the genres. From memory: the
hours, and the clips per split (their sums are the published sizes).

Reference: M. Defferrard et al., *FMA: A Dataset for Music Analysis*, ISMIR 2017.
Home: https://github.com/mdeff/fma

Licence: metadata CC BY 4.0; each track by its artist's choice, see ``track_licence``.
"""

import csv
import io
import json
import logging
from dataclasses import replace
from pathlib import Path

from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    Clip,
    Corpus,
    find_audio,
    find_file,
    read_table,
    read_text,
    require_audio,
    write_corpus,
)

logger = logging.getLogger(__name__)

#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1

#: Subset -> clips per split; ``full`` has whole tracks where ``large`` has 30 s.
SUBSETS = {
    "small": {"train": 6_400, "valid": 800, "test": 800},
    "medium": {"train": 19_922, "valid": 2_505, "test": 2_573},
    "large": {"train": 84_353, "valid": 11_263, "test": 10_958},
    "full": {"train": 84_353, "valid": 11_263, "test": 10_958},
}

CORPUS = Corpus(
    name="fma",
    title="FMA",
    tasks=("music_analysis",),
    clips=SUBSETS["large"],
    hours=888.0,  # of large; of full: 343 days
    licence="metadata CC BY 4.0; each track by its artist, many of them CC BY-NC",
    home="https://github.com/mdeff/fma",
    use="train",
    citation="Defferrard et al., FMA: A Dataset for Music Analysis, ISMIR 2017",
)

#: The roots of the tree, as they are published.
CLASSES = [
    *("Blues", "Classical", "Country", "Easy Listening", "Electronic", "Experimental"),
    *("Folk", "Hip-Hop", "Instrumental", "International", "Jazz"),
    *("Old-Time / Historic", "Pop", "Rock", "Soul-RnB", "Spoken"),
]

SPLITS = {"training": "train", "validation": "valid", "test": "test"}

#: The two names of a column of ``tracks.csv`` -> ours.
COLUMNS = {
    ("set", "split"): "split",
    ("set", "subset"): "subset",
    ("track", "genre_top"): "genre",
    ("track", "genres"): "genres",
    ("track", "language_code"): "language",
    ("track", "license"): "track_licence",
}


def prepare_fma(
    data_folder: str, manifest_folder: str, subset: str | None = None
) -> None:
    """Write the manifests of the three splits; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        Where ``fma_metadata/`` and the folder of a subset are.
    manifest_folder : str
        Where the manifests are written.
    subset : str
        ``small``, ``medium``, ``large`` or ``full``; None: the largest whose folder
        ``fma_<subset>`` is there, and ``large`` if none is.

    Raises
    ------
    FileNotFoundError
        If a table is missing, or there is no audio.
    ValueError
        If the subset is unknown, or a table is not FMA's.
    """
    data_folder = Path(data_folder)
    there = [name for name in SUBSETS if (data_folder / f"fma_{name}").is_dir()]
    subset = subset or (there[-1] if there else "large")
    if subset not in SUBSETS:
        raise ValueError(f"subset must be one of {[*SUBSETS]}; got {subset!r}.")
    arguments = {"corpus": "fma", "version": VERSION, "subset": subset}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    tables = [
        find_file(data_folder, f"fma_metadata/{name}", name, what="FMA")
        for name in ("tracks.csv", "genres.csv")
    ]
    folder = data_folder / f"fma_{subset}"
    audio = find_audio(folder if folder.is_dir() else data_folder)
    require_audio(audio, data_folder, "000/000002.mp3 and so on")
    clips = read_tracks(*tables, subset, audio)
    corpus = replace(CORPUS, clips=SUBSETS[subset])
    write_corpus(corpus, clips, data_folder, manifest_folder, arguments)


def read_tracks(
    tracks: Path, genres: Path, subset: str, audio: dict[str, Path]
) -> list[Clip]:
    """Read the tracks of a subset that have a genre."""
    titles, roots = read_genres(genres)
    lines = csv.reader(io.StringIO(read_text(tracks), newline=""))
    groups, names, _ = next(lines), next(lines), next(lines)
    found = {pair: index for index, pair in enumerate(zip(groups, names, strict=True))}
    missing = [" ".join(pair) for pair in COLUMNS if pair not in found]
    if missing:
        raise ValueError(f"{tracks} has no column {', '.join(missing)}.")
    smaller = [*SUBSETS][: [*SUBSETS].index(subset) + 1]
    clips, n_without = [], 0
    for line in lines:
        track = {ours: line[found[pair]] for pair, ours in COLUMNS.items()}
        if track["subset"] not in smaller:
            continue
        own = json.loads(track["genres"])
        if not own:
            n_without += 1
            continue
        name = line[0].zfill(6)
        fields = {ours: track[ours] for ours in ("language", "track_licence")}
        fields = {ours: value for ours, value in fields.items() if value}
        # A track whose genres have several roots has no single one.
        fields |= {"genre": track["genre"]} if track["genre"] else {}
        names = [titles[genre] for genre in [*(roots[genre] for genre in own), *own]]
        names = list(dict.fromkeys(names))
        row = {"task": "music_analysis", "attributes": names}
        split = SPLITS[track["split"]]
        clips.append(
            Clip(name, split, audio.get(name), {"analysis": row}, fields=fields)
        )
    if n_without:
        logger.info("FMA: %d tracks without a genre have no row.", n_without)
    return clips


def read_genres(path: Path) -> tuple[dict[int, str], dict[int, int]]:
    """Return genre -> its title, and genre -> its root."""
    lines = read_table(path, ("genre_id", "title", "top_level"))
    titles = {int(line["genre_id"]): line["title"] for line in lines}
    return titles, {int(line["genre_id"]): int(line["top_level"]) for line in lines}
