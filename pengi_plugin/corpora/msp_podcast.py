"""MSP-Podcast: segments of podcasts with the emotion that listeners heard.

Layout: ``Labels/labels_consensus.csv`` (or ``.json``; in older releases spelled
``labels_concensus``) and ``Audios/`` (in some copies ``Audio/`` with folders in it);
of the oldest releases ``Labels/labels.txt`` and ``Partitions.txt``. Any release will
do; the counts differ, and which one the paper used is not known.

Rows are ``speech_emotion``. Segments with the emotions O (other) and X (no agreement)
have no row. Test1, Test2 and Test3 are all of the split ``test``, told apart by the
field ``partition``; Test3 is published without labels. The fields ``arousal``,
``valence``, ``dominance`` (means, 1 to 7), ``speaker`` and ``gender`` are there too.

Traps: the validation split is called Development or Validation; names can have a third
number; speaker and gender can be Unknown.

Certain, from public code for several releases: files, columns, labels and splits. From
memory: the form of ``Partitions.txt``, and from which release on files and splits have
their newer names.

Reference: R. Lotfian and C. Busso, *Building Naturalistic Emotionally Balanced Speech
Corpus by Retrieving Emotional Speech From Existing Podcast Recordings*, IEEE TAFFC
2019. Home: https://lab-msp.com

Licence: academic, to be signed; it must not be passed on.
"""

import json
import re
from pathlib import Path

from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    Clip,
    Corpus,
    find_audio,
    find_file,
    read_table,
    read_text,
    write_corpus,
)

#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1

CORPUS = Corpus(
    name="msp_podcast",
    title="MSP-Podcast",
    tasks=("speech_emotion",),
    clips={"train": None, "valid": None, "test": None},
    hours=None,
    licence="academic licence, to be signed, no redistribution",
    home="https://lab-msp.com",
    use="train",
    citation="Lotfian and Busso, Building Naturalistic Emotionally Balanced Speech "
    "Corpus, IEEE TAFFC 2019",
)

#: Official letter -> its name in answers. O (other) and X (no agreement) have none.
EMOTIONS = {
    "A": "angry",
    "C": "contempt",
    "D": "disgust",
    "F": "fear",
    "H": "happy",
    "N": "neutral",
    "S": "sad",
    "U": "surprise",
}
CLASSES = list(EMOTIONS.values())
WITHOUT_ROW = ("O", "X", "")

#: How the name of an official partition begins -> our split.
SPLITS = {"train": "train", "dev": "valid", "val": "valid", "test": "test"}

COLUMNS = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "Split_Set")

LABELS = [
    f"{folder}{name}"
    for name in (
        *("labels_consensus.csv", "labels_concensus.csv"),
        *("labels_consensus.json", "labels_concensus.json"),
        *("labels.txt", "Labels.txt"),
    )
    for folder in ("Labels/", "labels/", "")
]

#: A segment's first line in the oldest form: ``NAME.wav; N; A:2.2; V:4.0; D:2.6;``.
SEGMENT = re.compile(r"(\S+\.wav); (\w); A:([\d.]+); V:([\d.]+); D:([\d.]+);")


def prepare_msp_podcast(data_folder: str, manifest_folder: str) -> None:
    """Write the manifests of the three splits; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        A release, with ``Labels/`` and ``Audios/`` in it.
    manifest_folder : str
        Where the manifests are written.

    Raises
    ------
    FileNotFoundError
        If there are no labels, or there is no ``Partitions.txt`` with old ones.
    ValueError
        If a segment has an emotion or partition that is unknown.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "msp_podcast", "version": VERSION}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    segments = read_labels(data_folder)
    audio = find_audio(data_folder)
    clips = [
        clip_of(name, segment, audio)
        for name, segment in segments.items()
        if segment["EmoClass"] not in WITHOUT_ROW
    ]
    write_corpus(CORPUS, clips, data_folder, manifest_folder, arguments)


def read_labels(data_folder: Path) -> dict[str, dict]:
    """Return file name -> the columns of ``labels_consensus.csv``."""
    path = find_file(data_folder, *LABELS, what="a release of MSP-Podcast")
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".csv":
        return {line["FileName"]: line for line in read_table(path, COLUMNS)}
    paths = ("Partitions.txt", "Labels/Partitions.txt", "partitions.txt")
    text = read_text(find_file(data_folder, *paths, what="a release of MSP-Podcast"))
    partitions = {}
    for line in text.splitlines():
        partition, _, name = line.partition(";")
        partitions[name.strip()] = partition.strip()
    names = ("EmoClass", "EmoAct", "EmoVal", "EmoDom")
    return {
        name: {
            **dict(zip(names, values, strict=True)),
            "Split_Set": partitions.get(name, "none"),
        }
        for name, *values in SEGMENT.findall(read_text(path))
    }


def clip_of(name: str, segment: dict, audio: dict[str, Path]) -> Clip:
    """Return the clip of a segment.

    Example
    -------
    >>> segment = {"EmoClass": "U", "Split_Set": "Development", "EmoAct": "2.2"}
    >>> clip = clip_of("a.wav", segment | {"EmoVal": "4", "EmoDom": "2.6"}, {})
    >>> clip.split, clip.rows["emotion"]["emotion"]
    ('valid', 'surprise')
    """
    letter, partition = segment["EmoClass"], segment["Split_Set"]
    splits = [
        ours for word, ours in SPLITS.items() if partition.lower().startswith(word)
    ]
    if letter not in EMOTIONS or not splits:
        raise ValueError(
            f"{name} has the emotion {letter!r} and the partition {partition!r}; "
            f"known are {', '.join(EMOTIONS)}, O and X, and partitions that begin with "
            f"{', '.join(SPLITS)}."
        )
    fields = {
        "partition": partition,
        "arousal": float(segment["EmoAct"]),
        "valence": float(segment["EmoVal"]),
        "dominance": float(segment["EmoDom"]),
    }
    fields |= {
        ours: segment[official]
        for ours, official in (("speaker", "SpkrID"), ("gender", "Gender"))
        if official in segment
    }
    stem = name.removesuffix(".wav")
    rows = {"emotion": {"task": "speech_emotion", "emotion": EMOTIONS[letter]}}
    return Clip(stem, splits[0], audio.get(stem), rows, fields=fields)
