"""MELD: 13,708 utterances of the series *Friends*, with emotion and sentiment.

Layout: the three tables ``train_sent_emo.csv``, ``dev_sent_emo.csv`` and
``test_sent_emo.csv`` (of MELD.Raw, or ``data/MELD/`` of the repository), and audio
files ``dia<dialogue>_utt<utterance>`` of any format in folders of which one is named
after the split: the official ``train_splits``, ``dev_splits_complete`` and
``output_repeated_splits_test``, or any with ``train``, ``dev`` or ``valid``, or
``test`` in its name.

The archive holds videos. Their sound is extracted beforehand, once per folder::

    for f in *.mp4; do ffmpeg -i "$f" -vn -ac 1 -ar 16000 "${f%.mp4}.wav"; done

Every utterance has a row ``speech_emotion`` and a row ``speech_sentiment``.

Traps: splits reuse the numbers of dialogues, so a clip's name begins with its split;
the archive's tables hold Windows-1252 quotes; the folders hold clips that no table
lists; the video of train dia125_utt3 is corrupt and dev dia110_utt7 is missing. Badly
cut or disturbed clips are listed in ``FAULTY`` and left out of training; in dev and
test, whose published results include them, they stay.

Certain, from the published tables: counts, labels. From memory: the archive's encoding.

Reference: S. Poria et al., *MELD: A Multimodal Multi-Party Dataset for Emotion
Recognition in Conversations*, ACL 2019. Home: https://affective-meld.github.io

Licence: annotations GPL-3.0; the videos are under the copyright of *Friends*.
"""

import logging
import re
from pathlib import Path

from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    Clip,
    Corpus,
    find_audio,
    find_file,
    read_table,
    require_audio,
    write_corpus,
)

logger = logging.getLogger(__name__)

#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1

CORPUS = Corpus(
    name="meld",
    title="MELD",
    tasks=("speech_emotion", "speech_sentiment"),
    clips={"train": 9_989, "valid": 1_109, "test": 2_610},
    hours=12.1,
    licence="annotations GPL-3.0; videos under the copyright of the series",
    home="https://affective-meld.github.io",
    use="train",
    citation="Poria et al., MELD, ACL 2019",
)

EMOTIONS = ["anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise"]
SENTIMENTS = ["negative", "neutral", "positive"]
CLASSES = EMOTIONS

#: Our split -> its official name.
SPLITS = {"train": "train", "valid": "dev", "test": "test"}

#: Training clips that are cut badly (the first), or have a wrong or disturbed sound,
#: as users reported in the repository.
FAULTY = {
    *("dia309_utt0", "dia793_utt0", "dia164_utt5", "dia682_utt1", "dia529_utt2"),
    *("dia1029_utt1", "dia1008_utt1"),
}

COLUMNS = ("Emotion", "Sentiment", "Speaker", "Dialogue_ID", "Utterance_ID")


def prepare_meld(data_folder: str, manifest_folder: str) -> None:
    """Write the manifests of the three splits; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        Where tables and audio files are, in any of the layouts above.
    manifest_folder : str
        Where the manifests are written.

    Raises
    ------
    FileNotFoundError
        If a table is missing, or there are videos and no audio files.
    ValueError
        If a table lacks a column or has an emotion or sentiment that MELD does not
        have.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "meld", "version": VERSION}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    tables = {split: find_labels(data_folder, split) for split in SPLITS}
    audio = find_audio(data_folder, name_of)
    require_audio(audio, data_folder, "dia<n>_utt<n> in a folder of each split")
    clips = [
        clip
        for split, path in tables.items()
        for clip in read_utterances(path, split, audio)
    ]
    write_corpus(CORPUS, clips, data_folder, manifest_folder, arguments)


def find_labels(data_folder: Path, split: str) -> Path:
    """Return the table of a split."""
    official = SPLITS[split]
    name = f"{official}_sent_emo.csv"
    folders = ("", f"{official}/", "data/MELD/", f"MELD.Raw/{official}/", "MELD.Raw/")
    return find_file(data_folder, *(folder + name for folder in folders), what="MELD")


def name_of(path: Path) -> str | None:
    """Return a clip's name from an audio file's path; None if it belongs to no split.

    Example
    -------
    >>> name_of(Path("test/output_repeated_splits_test/dia0_utt3.wav"))
    'test_dia0_utt3'
    >>> name_of(Path("for_tests/train/dia0_utt3.wav"))  # the nearest folder counts
    'train_dia0_utt3'
    """
    if not re.fullmatch(r"dia\d+_utt\d+", path.stem):
        return None
    for folder in reversed(path.parts[:-1]):
        for split, words in (
            ("train", ("train",)),
            ("valid", ("dev", "valid")),
            ("test", ("test",)),
        ):
            if any(word in folder.lower() for word in words):
                return f"{split}_{path.stem}"
    return None


def read_utterances(path: Path, split: str, audio: dict[str, Path]) -> list[Clip]:
    """Read a table; the audio files are found by the clips' names."""
    clips = []
    for number, line in enumerate(read_table(path, COLUMNS), start=1):
        stem = f"dia{line['Dialogue_ID']}_utt{line['Utterance_ID']}"
        if split == "train" and stem in FAULTY:
            logger.info("MELD: %s is left out of training, see FAULTY.", stem)
            continue
        emotion, sentiment = line["Emotion"], line["Sentiment"]
        if emotion not in EMOTIONS or sentiment not in SENTIMENTS:
            raise ValueError(
                f"Row {number} of {path} has the emotion {emotion!r} and the sentiment "
                f"{sentiment!r}; MELD has {EMOTIONS} and {SENTIMENTS}."
            )
        rows = {
            "emotion": {"task": "speech_emotion", "emotion": emotion},
            "sentiment": {"task": "speech_sentiment", "sentiment": sentiment},
        }
        name = f"{split}_{stem}"
        fields = {"speaker": line["Speaker"], "dialogue": line["Dialogue_ID"]}
        clips.append(Clip(name, split, audio.get(name), rows, fields=fields))
    return clips
