"""ESC-50: 2000 recordings of 5 s in 50 classes; the official folder in, manifests out.

Every recording has two rows: ``sound_events`` (its class) and ``captioning`` (a
sentence made of its class).

``is_action`` marks the recordings of people without speech, the official group that
papers name ESC-50 actions. Every recording is an excerpt of one of Freesound. Its home
has 600 MB to download.

Certain, from the published files: all columns, classes and counts. Ours: the sentences
of the captions.
"""

import csv
import zlib
from collections.abc import Mapping
from pathlib import Path

from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import Clip, Corpus, write_corpus

#: Which recordings of the training folds are for validation depends on the folds.
CORPUS = Corpus(
    name="esc50",
    title="ESC-50",
    tasks=("sound_events", "captioning"),
    clips={"train": None, "valid": None, "test": 400},
    hours=2.8,
    licence="CC BY-NC 3.0; the classes of ESC-10 CC BY 3.0",
    home="https://github.com/karolpiczak/ESC-50",
    use="test",
    citation="K. J. Piczak, ESC: Dataset for Environmental Sound Classification, ACM "
    "Multimedia 2015",
)

#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 2
#: Length of every recording.
SECONDS = 5.0

#: Without a validation fold, every tenth source recording of the training folds is for
#: validation: about 160 recordings, enough to compare checkpoints.
VALID_EVERY = 10


def prepare_esc50(
    data_folder: str,
    manifest_folder: str,
    test_fold: int = 5,
    valid_fold: int | None = None,
) -> None:
    """Write ``train.json``, ``valid.json`` and ``test.json``.

    A second call with the same arguments does nothing. Files that are missing,
    empty, truncated or not 5 s long are left out and listed in ``left_out.csv``.

    Arguments
    ---------
    data_folder : str
        The official folder: ``meta/esc50.csv`` and ``audio/``.
    manifest_folder : str
        Where the manifests are written.
    test_fold : int
        The fold for the test.
    valid_fold : int
        The fold for validation; None: about a tenth of the source recordings of
        the training folds.

    Raises
    ------
    FileNotFoundError
        If there is no ``meta/esc50.csv``.
    ValueError
        If its columns, categories or folds are not ESC-50's.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "esc50", "version": VERSION}
    arguments |= {"test_fold": test_fold, "valid_fold": valid_fold}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    clips = read_meta(data_folder / "meta" / "esc50.csv")
    folds = {int(clip["fold"]) for clip in clips}
    for name, fold in (("test_fold", test_fold), ("valid_fold", valid_fold)):
        if fold is not None and fold not in folds:
            raise ValueError(f"{name} must be one of {sorted(folds)}; got {fold}.")
    if test_fold == valid_fold:
        raise ValueError(f"test_fold and valid_fold are both {test_fold}.")
    audio = data_folder / "audio"
    write_corpus(
        CORPUS,
        [
            Clip(
                name=Path(clip["filename"]).stem,
                split=split_of(clip, test_fold, valid_fold),
                path=audio / clip["filename"],
                rows=rows_of(clip),
                source=f"freesound:{clip['src_file']}",
                fields={
                    "clip_kind": "recording",
                    "fold": int(clip["fold"]),
                    "is_action": label_of(clip["category"]) in ACTIONS,
                },
            )
            for clip in clips
        ],
        data_folder,
        manifest_folder,
        arguments,
        SECONDS,
    )


def read_meta(path: Path) -> list[dict]:
    """Read ``esc50.csv``: one dict per recording."""
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {path}; give the folder of ESC-50 as it is published, with "
            "meta/esc50.csv and audio/ in it."
        )
    with path.open(newline="", encoding="utf-8") as file:
        clips = list(csv.DictReader(file))
    for number, clip in enumerate(clips, start=2):  # line 1 holds the column names
        missing = {"filename", "fold", "category", "src_file"} - clip.keys()
        if missing:
            raise ValueError(f"{path} has no column {', '.join(sorted(missing))}.")
        if clip["category"] not in PHRASES:
            raise ValueError(
                f"Line {number} of {path} has the category {clip['category']!r}, which "
                "ESC-50 does not have."
            )
    return clips


def split_of(clip: Mapping, test_fold: int, valid_fold: int | None = None) -> str:
    """Return the split of a recording; all clips of one source share a split.

    Example
    -------
    >>> split_of({"fold": "4", "src_file": "102844"}, test_fold=4)
    'test'
    """
    fold = int(clip["fold"])
    if fold == test_fold:
        return "test"
    if valid_fold is not None:
        return "valid" if fold == valid_fold else "train"
    # A checksum, so that the split is the same on every machine and in any order.
    checksum = zlib.crc32(clip["src_file"].encode())
    return "valid" if checksum % VALID_EVERY == 0 else "train"


def rows_of(clip: Mapping) -> dict[str, dict]:
    """Return the rows of a recording: name -> task and its fields.

    Example
    -------
    >>> rows_of({"filename": "1-17092-A-27.wav", "category": "rain"})["events"]
    {'task': 'sound_events', 'labels': ['rain']}
    """
    captions = captions_of(clip["category"])
    name = Path(clip["filename"]).stem
    caption = captions[zlib.crc32(name.encode()) % len(captions)]
    return {
        "events": {"task": "sound_events", "labels": [label_of(clip["category"])]},
        "caption": {"task": "captioning", "caption": caption, "references": captions},
    }


#: Official category -> noun phrase of its captions.
PHRASES = {
    "airplane": "an airplane",
    "breathing": "someone breathing",
    "brushing_teeth": "someone brushing their teeth",
    "can_opening": "a can being opened",
    "car_horn": "a car horn",
    "cat": "a cat",
    "chainsaw": "a chainsaw",
    "chirping_birds": "birds chirping",
    "church_bells": "church bells",
    "clapping": "people clapping",
    "clock_alarm": "an alarm clock",
    "clock_tick": "a clock ticking",
    "coughing": "someone coughing",
    "cow": "a cow",
    "crackling_fire": "a crackling fire",
    "crickets": "crickets",
    "crow": "a crow",
    "crying_baby": "a baby crying",
    "dog": "a dog",
    "door_wood_creaks": "a wooden door creaking",
    "door_wood_knock": "a knock on a wooden door",
    "drinking_sipping": "someone drinking",
    "engine": "an engine",
    "fireworks": "fireworks",
    "footsteps": "footsteps",
    "frog": "a frog",
    "glass_breaking": "glass breaking",
    "hand_saw": "a hand saw",
    "helicopter": "a helicopter",
    "hen": "a hen",
    "insects": "insects",
    "keyboard_typing": "someone typing on a keyboard",
    "laughing": "someone laughing",
    "mouse_click": "a mouse clicking",
    "pig": "a pig",
    "pouring_water": "water being poured",
    "rain": "rain",
    "rooster": "a rooster",
    "sea_waves": "sea waves",
    "sheep": "a sheep",
    "siren": "a siren",
    "sneezing": "someone sneezing",
    "snoring": "someone snoring",
    "thunderstorm": "a thunderstorm",
    "toilet_flush": "a toilet flushing",
    "train": "a train",
    "vacuum_cleaner": "a vacuum cleaner",
    "washing_machine": "a washing machine",
    "water_drops": "water dripping",
    "wind": "wind",
}

#: Templates of the captions; the checksum of a recording's name chooses one.
CAPTIONS = (
    "the sound of {phrase}",
    "{phrase} can be heard",
    "a recording of {phrase}",
    "you can hear {phrase}",
)


def label_of(category: str) -> str:
    """Return the label of an official category.

    Example
    -------
    >>> label_of("sea_waves")
    'sea waves'
    """
    return category.replace("_", " ")


#: The labels of all classes, in alphabetical order.
CLASSES = [label_of(category) for category in PHRASES]

#: Those of the official group "human, non-speech sounds".
ACTIONS = [
    "breathing",
    "brushing teeth",
    "clapping",
    "coughing",
    "crying baby",
    "drinking sipping",
    "footsteps",
    "laughing",
    "sneezing",
    "snoring",
]


def captions_of(category: str) -> list[str]:
    """Return all captions of an official category.

    Example
    -------
    >>> captions_of("rain")[0]
    'the sound of rain'
    """
    return [caption.format(phrase=PHRASES[category]) for caption in CAPTIONS]


def sentences() -> list[str]:
    """Return all labels and captions of the corpus."""
    labels = [label_of(category) for category in PHRASES]
    return labels + [text for name in PHRASES for text in captions_of(name)]
