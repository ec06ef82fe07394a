"""FSD50K: 51197 clips of Freesound, 200 classes; the official folder in, manifests out.

The folder is that of Zenodo's archives, joined and extracted (``zip -s 0 IN.zip --out
OUT.zip; unzip OUT.zip``; an archive that was extracted in part is a common error: look
at the counts that are printed)::

    FSD50K.ground_truth/dev.csv, eval.csv     also labels/ or the folder itself
    FSD50K.dev_audio/, FSD50K.eval_audio/     any names; files are found by their ids

The column ``split`` of ``dev.csv`` tells training from validation. Labels are smeared
upwards, the most specific first: guitar, plucked string instrument, musical instrument.
``fsd50k_classes.csv`` beside this file gives the text of each official name, by default
AudioSet's name of the class, and can be edited. Test clips have all their labels,
others may lack some. Which order and which writing Pengi was trained with is not known.

Certain, from the published files: their form and names, the counts of both parts. From
memory: how many clips of ``dev.csv`` are for validation.

Each clip has a licence of its own: CC0, CC BY, CC BY-NC or CC Sampling+.
"""

import csv
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
    name="fsd50k",
    title="FSD50K",
    tasks=("sound_events",),
    clips={"train": 36796, "valid": 4170, "test": 10231},
    hours=108.3,
    licence="CC BY 4.0; clips CC0, CC BY, CC BY-NC or CC Sampling+",
    home="https://zenodo.org/record/4060432",
    use="train, test",
    citation="E. Fonseca et al., FSD50K: an open dataset of human-labeled sound "
    "events, IEEE/ACM TASLP 30, 2022",
)
#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1

with Path(__file__).with_name("fsd50k_classes.csv").open(newline="") as _file:
    #: Official name of a class -> text.
    NAMES = {row["name"]: row["text"] for row in csv.DictReader(_file)}

CLASSES = list(NAMES.values())

#: Value of the column ``split`` -> split; ``eval.csv`` has no such column.
SPLITS = {"train": "train", "val": "valid", None: "test"}


def prepare_fsd50k(
    data_folder: str, manifest_folder: str, audio_folder: str | None = None
) -> None:
    """Write ``train.json``, ``valid.json`` and ``test.json``.

    Arguments
    ---------
    data_folder : str
        The official folder.
    manifest_folder : str
        Where the manifests are written.
    audio_folder : str
        Where the audio is, such as a copy at another sample rate; by default anywhere
        in ``data_folder``.

    Raises
    ------
    FileNotFoundError
        If ``dev.csv`` or ``eval.csv`` is missing.
    ValueError
        If a label is none of the 200 classes.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "fsd50k", "version": VERSION, "audio_folder": audio_folder}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    audio = find_audio(audio_folder or data_folder)
    clips = []
    for name in ("dev.csv", "eval.csv"):
        paths = [f"{folder}/{name}" for folder in ("FSD50K.ground_truth", "labels")]
        path = find_file(data_folder, *paths, name, what="FSD50K")
        for line in read_table(path, ("fname", "labels")):
            labels = line["labels"].split(",")  # official names have no commas
            unknown = [label for label in labels if label not in NAMES]
            if unknown:
                raise ValueError(
                    f"{path}: clip {line['fname']} has the labels {unknown}, which are "
                    "none of FSD50K's."
                )
            texts = [NAMES[label] for label in labels]
            clips.append(
                Clip(
                    name=line["fname"],
                    split=SPLITS[line.get("split")],
                    path=audio.get(line["fname"]),
                    rows={"events": {"task": "sound_events", "labels": texts}},
                    source=f"freesound:{line['fname']}",
                )
            )
    write_corpus(CORPUS, clips, data_folder, manifest_folder, arguments)
