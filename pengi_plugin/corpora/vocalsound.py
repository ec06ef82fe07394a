"""VocalSound: 21024 vocal sounds of 3365 speakers, 6 classes; the archive in.

The folder is that of ``vs_release_16k.zip`` or ``vs_release_44k.zip``, or one above::

    datafiles/tr.json, val.json, te.json    {"data": [{"wav": ..., "labels": ...}]}
    audio_16k/f0003_0_cough.wav             or audio_44k/, of any sample rate

The split is that of the list a file is in; its class and speaker are in its name. The
paths in the lists are of the authors' machine, so only their last part is read. That
Pengi was scored on the test split is not certain.

Certain, from the authors' code and documents: layout, names, classes and counts of all
clips. Not seen: a real list. From memory: the sizes of the splits, whose sum is known.
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
    write_corpus,
)

CORPUS = Corpus(
    name="vocalsound",
    title="VocalSound",
    tasks=("sound_events",),
    clips={"train": 15570, "valid": 1860, "test": 3594},
    hours=24,  # from memory
    licence="CC BY-SA 4.0",
    home="https://github.com/YuanGongND/vocalsound",
    use="test",
    citation="Y. Gong, J. Yu and J. Glass, VocalSound: A Dataset for Improving Human "
    "Vocal Sounds Recognition, ICASSP 2022",
)
#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1

#: Class in a file's name -> text, in the official order.
NAMES = {
    "laughter": "laughter",
    "sigh": "sigh",
    "cough": "cough",
    "throatclearing": "throat clearing",
    "sneeze": "sneeze",
    "sniff": "sniff",
}

CLASSES = list(NAMES.values())

#: List -> split.
LISTS = {"tr": "train", "val": "valid", "te": "test"}
FILE = re.compile(rf"(?P<speaker>[fm]\d+)_\d+_(?P<name>{'|'.join(NAMES)})")


def prepare_vocalsound(data_folder: str, manifest_folder: str) -> None:
    """Write ``train.json``, ``valid.json`` and ``test.json``.

    Arguments
    ---------
    data_folder : str
        The folder of the archive, or one above.
    manifest_folder : str
        Where the manifests are written.

    Raises
    ------
    FileNotFoundError
        If a list is missing.
    ValueError
        If a file's name has none of the six classes.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "vocalsound", "version": VERSION}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    audio = find_audio(data_folder)
    clips = []
    for name, split in LISTS.items():
        path = find_file(data_folder, f"datafiles/{name}.json", what="VocalSound")
        for entry in json.loads(path.read_text(encoding="utf-8"))["data"]:
            stem = Path(entry["wav"].replace("\\", "/")).stem
            match = FILE.fullmatch(stem)
            if not match:
                raise ValueError(
                    f"{path} has the file {entry['wav']!r}; names are like "
                    "f0003_0_cough.wav, with one of VocalSound's six classes."
                )
            row = {"task": "sound_events", "labels": [NAMES[match["name"]]]}
            clips.append(
                Clip(
                    name=stem,
                    split=split,
                    path=audio.get(stem),
                    rows={"events": row},
                    fields={"speaker": match["speaker"]},
                )
            )
    write_corpus(CORPUS, clips, data_folder, manifest_folder, arguments)
