"""UrbanSound8K: 8732 slices of Freesound's recordings, 10 classes; manifests out.

The folder is the official one, with ``metadata/UrbanSound8K.csv`` and
``audio/fold1/100032-3-0-0.wav``; copies without ``metadata/`` and ``audio/`` are read
as well. Files are as they were uploaded, of any sample rate, depth and channels.

All clips are in the test split, with their ``fold`` of ten. A score that trains
anything is the mean over the official folds, which are not to be mixed; a zero-shot
score is of all clips. Many recordings are also in FSD50K and WavCaps.

Certain, counted in the published table: columns, classes, folds and counts. From
memory: the layout of copies without the two folders.
"""

from pathlib import Path

from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    Clip,
    Corpus,
    find_audio,
    find_file,
    read_table,
    write_corpus,
)

CORPUS = Corpus(
    name="urbansound8k",
    title="UrbanSound8K",
    tasks=("sound_events",),
    clips={"test": 8732},
    hours=8.75,
    licence="CC BY-NC 3.0",
    home="https://zenodo.org/record/1203745",
    use="test",
    citation="J. Salamon, C. Jacoby and J. P. Bello, A Dataset and Taxonomy for Urban "
    "Sound Research, ACM Multimedia 2014",
)
#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1

#: Official name of a class -> text, in the order of their ids.
NAMES = {
    "air_conditioner": "air conditioner",
    "car_horn": "car horn",
    "children_playing": "children playing",
    "dog_bark": "dog bark",
    "drilling": "drilling",
    "engine_idling": "engine idling",
    "gun_shot": "gun shot",
    "jackhammer": "jackhammer",
    "siren": "siren",
    "street_music": "street music",
}

CLASSES = list(NAMES.values())


def prepare_urbansound8k(data_folder: str, manifest_folder: str) -> None:
    """Write ``test.json``.

    Arguments
    ---------
    data_folder : str
        The official folder.
    manifest_folder : str
        Where the manifest is written.

    Raises
    ------
    FileNotFoundError
        If there is no ``UrbanSound8K.csv``.
    ValueError
        If a class is none of the ten.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "urbansound8k", "version": VERSION}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    path = find_file(data_folder, "UrbanSound8K.csv", what="UrbanSound8K")
    audio = find_audio(data_folder)
    clips = []
    for line in read_table(path, ("slice_file_name", "fsID", "fold", "class")):
        if line["class"] not in NAMES:
            raise ValueError(
                f"{path}: {line['slice_file_name']} has the class {line['class']!r}, "
                "which is none of UrbanSound8K's."
            )
        row = {"task": "sound_events", "labels": [NAMES[line["class"]]]}
        name = Path(line["slice_file_name"]).stem
        clips.append(
            Clip(
                name=name,
                split="test",
                path=audio.get(name),
                rows={"events": row},
                source=f"freesound:{line['fsID']}",
                fields={"fold": int(line["fold"])},
            )
        )
    write_corpus(CORPUS, clips, data_folder, manifest_folder, arguments)
