"""DCASE 2017 task 4, sounds for smart cars: 17 classes of AudioSet; manifests out.

The folder holds the lists of the challenge's repository,
``groundtruth_release/groundtruth_weak_label_evaluation_set.csv`` and its like (or
the files alone), and the audio in any folders: ``Y`` before the name in the list, or
any other name that AudioSet's clips have (``audioset.py``).

A list has a line per label; names of classes have commas, ``Air horn, truck horn``. The
texts are AudioSet's names. The lists of the testing (488 clips) and of the evaluation
set (1103) are offered; which one Pengi was scored on is not known, the evaluation set
is our choice. The clips are AudioSet's (594 of the evaluation set are in its test, 85
in its balanced training), so a model that was trained on it may have heard them.

Certain, counted in the published lists: their form, classes and counts. Not seen: the
folder in the archive of the evaluation set's audio. From memory: that the challenge's
figure is micro-averaged.
"""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from pengi_plugin.corpora.audioset import find_videos
from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    Clip,
    Corpus,
    find_file,
    read_text,
    write_corpus,
)

CORPUS = Corpus(
    name="dcase2017_task4",
    title="DCASE 2017 task 4",
    tasks=("sound_events",),
    clips={"test": 1103},
    hours=3.1,
    licence="lists Apache-2.0, audio its uploaders'",
    home="https://github.com/ankitshah009/"
    "Task-4-Large-scale-weakly-supervised-sound-event-detection-for-smart-cars",
    use="test",
    citation="A. Mesaros et al., DCASE 2017 challenge setup: Tasks, datasets and "
    "baseline system, DCASE 2017",
)
#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1

#: Part -> clips of the complete part.
PARTS = {"evaluation": 1103, "testing": 488}

#: In the order of the official list.
CLASSES = [
    "Train horn",
    "Air horn, truck horn",
    "Car alarm",
    "Reversing beeps",
    "Bicycle",
    "Skateboard",
    "Ambulance (siren)",
    "Fire engine, fire truck (siren)",
    "Civil defense siren",
    "Police car (siren)",
    "Screaming",
    "Car",
    "Car passing by",
    "Bus",
    "Truck",
    "Motorcycle",
    "Train",
]


def prepare_dcase2017_task4(
    data_folder: str, manifest_folder: str, part: str = "evaluation"
) -> None:
    """Write ``test.json``.

    Arguments
    ---------
    data_folder : str
        Where the lists and the audio are.
    manifest_folder : str
        Where the manifest is written.
    part : str
        ``evaluation`` or ``testing``.

    Raises
    ------
    FileNotFoundError
        If the list is missing.
    ValueError
        If the part is unknown, or a label is none of the 17 classes.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}; got {part!r}.")
    data_folder = Path(data_folder)
    arguments = {"corpus": "dcase2017_task4", "version": VERSION, "part": part}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    path = find_file(
        data_folder,
        f"groundtruth_weak_label_{part}_set.csv",
        what="DCASE 2017 task 4, with the lists of groundtruth_release",
    )
    audio = find_videos(data_folder)
    clips = []
    for name, labels in read_labels(path).items():
        video, start = name[:11], float(name[12:].split("_")[0])
        clips.append(
            Clip(
                name=name,
                split="test",
                path=audio.get(video),
                rows={"events": {"task": "sound_events", "labels": labels}},
                source=f"youtube:{video}:{start:g}",
            )
        )
    corpus = replace(CORPUS, clips={"test": PARTS[part]})
    write_corpus(corpus, clips, data_folder, manifest_folder, arguments)


def read_labels(path: Path) -> dict[str, list[str]]:
    """Read a list: name of the clip (video's id, begin, end) -> its labels.

    Lines end with or without a carriage return.
    """
    clips = defaultdict(list)
    for line in read_text(path).splitlines():
        if not line.strip():
            continue
        file, *_, label = line.split("\t")
        if label not in CLASSES:
            raise ValueError(
                f"{path} has the label {label!r}, which is no class of it."
            )
        name = file.removesuffix(".wav")
        if label not in clips[name]:
            clips[name].append(label)
    return clips
