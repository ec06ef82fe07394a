"""GTZAN genres: 1,000 excerpts of 30 s in ten genres; its folder in, manifests out.

Layout: ``genres/<genre>/<genre>.00000.wav`` of the original archive, ``Data/
genres_original/`` of the usual re-upload, or ``.au`` files; any folder of them will do.

Rows are ``music_analysis`` with the genre as attribute and as the field ``genre``. All
clips are ``test``, as zero-shot results use them; there is no official split. The
fault-filtered split without common artists (443, 197 and 290 clips; Kereliuk, Sturm and
Larsen) is not part of this package: give the folder of its lists
``train_filtered.txt``, ``valid_filtered.txt`` and ``test_filtered.txt`` as ``lists``
(they are in github.com/jongpillee/music_dataset_split, GTZAN_split/).

Traps: in the re-upload jazz.00054 cannot be decoded, and the filtered training list
names it; the set holds repetitions and wrong labels (Sturm 2013).

Certain, from public code and lists: layouts, classes, and the filtered lists. From
memory: that the original archive's jazz.00054 can be decoded, and the address of the
download, which has ended.

Reference: G. Tzanetakis and P. Cook, *Musical Genre Classification of Audio Signals*,
IEEE Transactions on Speech and Audio Processing 2002; B. L. Sturm, *The GTZAN Dataset*,
2013.

Licence: none stated.
"""

from dataclasses import replace
from pathlib import Path

from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    Clip,
    Corpus,
    find_audio,
    find_file,
    require_audio,
    write_corpus,
)

#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1

CORPUS = Corpus(
    name="gtzan",
    title="GTZAN, genres",
    tasks=("music_analysis",),
    clips={"test": 1_000},
    hours=8.3,
    licence="none stated",
    home="http://marsyas.info/downloads/datasets.html (ended)",
    use="test",
    citation="Tzanetakis and Cook, Musical Genre Classification, IEEE TSAP 2002",
)

#: Clips of the fault-filtered split.
FILTERED = {"train": 443, "valid": 197, "test": 290}

#: Official name of a folder -> its name in answers.
GENRES = {
    "blues": "blues",
    "classical": "classical",
    "country": "country",
    "disco": "disco",
    "hiphop": "hip hop",
    "jazz": "jazz",
    "metal": "metal",
    "pop": "pop",
    "reggae": "reggae",
    "rock": "rock",
}
CLASSES = list(GENRES.values())


def prepare_gtzan(
    data_folder: str, manifest_folder: str, lists: str | None = None
) -> None:
    """Write ``test.json``, or all three manifests; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        One of the layouts above.
    manifest_folder : str
        Where manifests are written.
    lists : str
        Folder of the lists of the fault-filtered split; None: all clips are a test.

    Raises
    ------
    FileNotFoundError
        If no file has a name of GTZAN, or a list is missing.
    ValueError
        If a list names something else.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "gtzan", "version": VERSION}
    arguments |= {"lists": str(Path(lists).resolve()) if lists else None}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    expected = {
        f"{genre}.{number:05d}": "test" for genre in GENRES for number in range(100)
    }
    audio = find_audio(
        data_folder, lambda path: path.stem if path.stem in expected else None
    )
    require_audio(audio, data_folder, "genres/blues/blues.00000.wav and so on")
    splits = read_lists(lists, expected) if lists else expected
    clips = [clip_of(name, split, audio.get(name)) for name, split in splits.items()]
    corpus = replace(CORPUS, clips=FILTERED) if lists else CORPUS
    write_corpus(corpus, clips, data_folder, manifest_folder, arguments)


def read_lists(lists: str | Path, expected) -> dict[str, str]:
    """Return clip -> split, of three lists of lines ``blues/blues.00029.wav``."""
    splits = {}
    for split in FILTERED:
        path = find_file(lists, f"{split}_filtered.txt", what="the lists of GTZAN")
        for line in path.read_text(encoding="utf-8").split():
            name = Path(line).stem
            if name not in expected or name in splits:
                raise ValueError(
                    f"{path} names {line!r}, which GTZAN does not have or another "
                    "line names too."
                )
            splits[name] = split
    return splits


def clip_of(name: str, split: str, path: Path | None) -> Clip:
    """Return the clip of a name.

    Example
    -------
    >>> clip_of("hiphop.00012", "test", None).rows["genre"]["attributes"]
    ['hip hop']
    """
    genre = GENRES[name.split(".")[0]]
    row = {"task": "music_analysis", "attributes": [genre], "genre": genre}
    return Clip(name, split, path, {"genre": row})
