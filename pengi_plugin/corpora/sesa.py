"""SESA, sound events for surveillance: 585 clips in 4 classes; the official folder in.

The folder is that of ``SESA.zip``: ``train/`` and ``test/`` with files such as
``gunshot_032.wav``, or one above. There is no list; the class is what stands before
the number. Whether Pengi was scored on the 105 files of ``test`` or on all 585 is not
known; ``part`` chooses. All clips are in the test split.

``source`` is the part and the file's name, ``sesa:test/gunshot_032``, which finds
other copies of SESA alone: the clips are of Freesound, but their numbers there are
published nowhere, so that clips shared with other corpora of Freesound are not found.

``casual`` means no threat. It names no sound, and how Pengi worded it is not known;
change its text in ``NAMES`` below.

Certain: the folders and the form of names. From copies of the record's text: the
counts and the licence. A reconstruction: the words of the classes.
"""

from dataclasses import replace
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
    name="sesa",
    title="SESA",
    tasks=("sound_events",),
    clips={"test": 105},
    hours=None,
    licence="CC BY 4.0",
    home="https://zenodo.org/record/3519845",
    use="test",
    citation="T. Spadini, Sound Events for Surveillance Applications (1.0.0), Zenodo "
    "2019, doi 10.5281/zenodo.3519845",
)
#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 2

#: Class in a file's name -> text.
NAMES = {
    "casual": "casual",
    "gunshot": "gunshot",
    "explosion": "explosion",
    "siren": "siren",
}

CLASSES = list(NAMES.values())

#: Part -> its folders, and clips of the complete part.
PARTS = {"test": (("test",), 105), "all": (("train", "test"), 585)}


def prepare_sesa(data_folder: str, manifest_folder: str, part: str = "test") -> None:
    """Write ``test.json``.

    Arguments
    ---------
    data_folder : str
        The folder with ``train`` and ``test``, or one above.
    manifest_folder : str
        Where the manifest is written.
    part : str
        ``test`` or ``all``.

    Raises
    ------
    FileNotFoundError
        If a folder of the part is missing.
    ValueError
        If the part is unknown, or a file's name has none of the four classes.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}; got {part!r}.")
    data_folder = Path(data_folder)
    arguments = {"corpus": "sesa", "version": VERSION, "part": part}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    folders, n_clip = PARTS[part]
    clips = []
    for name in folders:
        folder = find_file(data_folder, f"SESA/{name}", name, what="SESA")
        for stem, path in find_audio(folder).items():
            event = stem.split("_")[0]
            if event not in NAMES:
                raise ValueError(
                    f"The name of {path} must begin with one of {', '.join(NAMES)}."
                )
            row = {"task": "sound_events", "labels": [NAMES[event]]}
            rows, source = {"events": row}, f"sesa:{name}/{stem}"
            clips.append(Clip(f"{name}_{stem}", "test", path, rows, source))
    corpus = replace(CORPUS, clips={"test": n_clip})
    write_corpus(corpus, clips, data_folder, manifest_folder, arguments)
