"""CMU-MOSI: 2,199 segments of 93 monologues about films, with their sentiment.

Layouts: the official archive, with ``Raw/Labels/OpinionLevelSentiment.csv`` (also
``labels/`` or beside the audio) and segments ``<video>_<segment>.wav``; or MMSA's, with
``label.csv`` and ``Raw/<video>/<clip>``, where the sound of the videos was extracted
beforehand (``ffmpeg -i NAME.mp4 -vn -ac 1 -ar 16000 NAME.wav``). The computational
sequences (``.csd``) hold no audio and are not read.

Rows are ``speech_sentiment``: negative below 0, neutral at 0, positive above, as the
corpus' SDK says; the field ``score`` holds the number, from -3 to 3. Splits are of
videos: those of the SDK, which are also MMSA's.

Traps: the official table has no header; names begin with ``-`` or ``_``, so that they
are cut at the last ``_``; one segment has no length by its time stamps.

Certain, from published tables and loaders: both layouts and the form of both tables.
From memory: the clips per split, the hours, the home page, and that MMSA's splits are
the SDK's.

Reference: A. Zadeh et al., *Multimodal Sentiment Intensity Analysis in Videos*, IEEE
Intelligent Systems 2016. Home: http://multicomp.cs.cmu.edu

Licence: free for research; videos of YouTube.
"""

import csv
import io
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
    require_audio,
    write_corpus,
)

#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1

CORPUS = Corpus(
    name="cmu_mosi",
    title="CMU-MOSI",
    tasks=("speech_sentiment",),
    clips={"train": 1_284, "valid": 229, "test": 686},
    hours=2.6,
    licence="free for research; videos of YouTube",
    home="http://multicomp.cs.cmu.edu/resources/cmu-mosi-dataset/",
    use="train",
    citation="Zadeh et al., Multimodal Sentiment Intensity Analysis in Videos, IEEE "
    "Intelligent Systems 2016",
)

CLASSES = ["negative", "neutral", "positive"]

#: Videos of the official validation and test splits; the other 52 are for training.
VIDEOS = {
    "valid": {
        *("WKA5OygbEKI", "X3j2zQgwYgE", "ZAIRrfG22O0", "ZUXBRvtny7o"),
        *("_dI--eQ6qVU", "aiEXnCPZubE", "atnd_PF-Lbs", "bOL9jKpeJRs"),
        *("bvLlb-M3UXU", "c5xsKMxpXnc"),
    },
    "test": {
        *("c7UH_rxdZv4", "cM3Yna7AavY", "cW1FSBF59ik", "cXypl4FnoZo"),
        *("d3_k5Xpfmik", "d6hH302o4v8", "dq3Nf_lMPnE", "etzxEpPuc6I"),
        *("f9O3YtZ2VfI", "f_pcplsH_V0", "fvVhgmXxadc", "iiK8YX8oH1E"),
        *("jUzDDGyPkXU", "k5Y_838nuGo", "lXPQBPVc5Cw", "nbWiPyCm4g0"),
        *("nzpVDcQ0ywM", "ob23OKe5a9Q", "pLTX3ipuDJI", "phBUpBr1hSo"),
        *("rnaNMUZpvvg", "tIrG4oNLFzE", "tStelxIAHjw", "tmZoasNr4rU"),
        *("v0zCBqDeKcE", "vvZ4IcEtiZc", "vyB00TXsimI", "wMbj6ajWbic"),
        *("yDtzw_Y-7RU", "yvsjCA6Y5Fc", "zhpQhgha_KU"),
    },
}

MMSA_COLUMNS = ("video_id", "clip_id", "label", "mode")
MMSA_SPLITS = {
    "train": "train",
    "valid": "valid",
    "validation": "valid",
    "test": "test",
}

OFFICIAL = [
    f"{folder}OpinionLevelSentiment.csv"
    for folder in ("", "Raw/Labels/", "Labels/", "labels/", "CMU_MOSI/Raw/Labels/")
]


def prepare_cmu_mosi(data_folder: str, manifest_folder: str) -> None:
    """Write the manifests of the three splits; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        One of the layouts above.
    manifest_folder : str
        Where the manifests are written.

    Raises
    ------
    FileNotFoundError
        If there is neither of the two tables, or no audio.
    ValueError
        If a table is not of this corpus.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "cmu_mosi", "version": VERSION}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    path = find_file(data_folder, *OFFICIAL, "label.csv", what="CMU-MOSI")
    audio = find_audio(data_folder, name_of)
    require_audio(audio, data_folder, "<video>_<clip> or <video>/<clip>")
    read = read_mmsa if path.name == "label.csv" else read_official
    clips = read(path, audio)
    write_corpus(CORPUS, clips, data_folder, manifest_folder, arguments)


def name_of(path: Path) -> str:
    """Return a clip's name, ``<video>_<clip>``, from its path in either layout.

    Example
    -------
    >>> name_of(Path("Raw/-a_b/12.wav")), name_of(Path("Segmented/-a_b_12.wav"))
    ('-a_b_12', '-a_b_12')
    """
    is_number = re.fullmatch(r"\d+", path.stem)
    return f"{path.parent.name}_{path.stem}" if is_number else path.stem


def read_official(path: Path, audio: dict[str, Path]) -> list[Clip]:
    """Read ``OpinionLevelSentiment.csv``: start, end, video, segment, label."""
    clips = []
    lines = csv.reader(io.StringIO(read_text(path), newline=""))
    for number, line in enumerate(lines, start=1):
        if len(line) != 5:
            raise ValueError(
                f"Line {number} of {path} has {len(line)} columns; the table of "
                "CMU-MOSI has five: start, end, video, segment, label."
            )
        start, _, video, segment, label = line
        name = f"{video}_{segment}"
        split = next((ours for ours in VIDEOS if video in VIDEOS[ours]), "train")
        source = f"youtube:{video}:{float(start):.3f}"
        rows = sentiment_rows(float(label))
        clips.append(Clip(name, split, audio.get(name), rows, source))
    return clips


def read_mmsa(path: Path, audio: dict[str, Path]) -> list[Clip]:
    """Read MMSA's ``label.csv``, of CMU-MOSI or CMU-MOSEI."""
    clips = []
    for line in read_table(path, MMSA_COLUMNS):
        if line["mode"] not in MMSA_SPLITS:
            raise ValueError(
                f"{path} has the mode {line['mode']!r}; known are "
                f"{', '.join(MMSA_SPLITS)}."
            )
        name = f"{line['video_id']}_{line['clip_id']}"
        rows = sentiment_rows(float(line["label"]))
        clips.append(Clip(name, MMSA_SPLITS[line["mode"]], audio.get(name), rows))
    return clips


def sentiment_rows(score: float) -> dict[str, dict]:
    """Return the row of a segment.

    Example
    -------
    >>> sentiment_rows(-0.2)["sentiment"]["sentiment"]
    'negative'
    """
    sentiment = CLASSES[(score > 0) - (score < 0) + 1]
    row = {"task": "speech_sentiment", "sentiment": sentiment, "score": score}
    return {"sentiment": row}
