"""Beijing Opera: 236 strokes of four percussion instruments; its folder in, a test out.

Layout: ``beijing_opera_percussion_instrument_1.0/205972__ajaysm__daluo-01.wav``, flat,
or any folder of these files (they are also a pack of Freesound).

A file's name holds its number at Freesound and its instrument. Rows are
``sound_events`` with the instrument as label and as the field ``instrument``. There is
no official split: all clips are ``test``.

Certain, from public code: the form of names, 236 files. From memory: the names of
naobo and xiaoluo in file names, and the licence.

Reference: M. Tian, A. Srinivasamurthy, M. Sandler and X. Serra, *A Study of Instrument-
wise Onset Detection in Beijing Opera Percussion Ensembles*, ICASSP 2014.
Home: https://zenodo.org/record/1285212

Licence: CC BY-NC.
"""

import re
from pathlib import Path

from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    Clip,
    Corpus,
    find_audio,
    require_audio,
    write_corpus,
)

#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1

CORPUS = Corpus(
    name="beijing_opera",
    title="Beijing Opera percussion",
    tasks=("sound_events",),
    clips={"test": 236},
    hours=0.1,
    licence="CC BY-NC",
    home="https://zenodo.org/record/1285212",
    use="test",
    citation="Tian et al., A Study of Instrument-wise Onset Detection in Beijing Opera "
    "Percussion Ensembles, ICASSP 2014",
)

CLASSES = ["bangu", "daluo", "naobo", "xiaoluo"]

#: Number at Freesound, instrument.
NAME = re.compile(rf"(\d+)__ajaysm__({'|'.join(CLASSES)})-.+")


def prepare_beijing_opera(data_folder: str, manifest_folder: str) -> None:
    """Write ``test.json``; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        The folder of the files, or one above it.
    manifest_folder : str
        Where the manifest is written.

    Raises
    ------
    FileNotFoundError
        If no file has a name of this corpus.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "beijing_opera", "version": VERSION}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    audio = find_audio(
        data_folder, lambda path: path.stem if NAME.fullmatch(path.stem) else None
    )
    require_audio(audio, data_folder, "205972__ajaysm__daluo-01.wav and so on")
    clips = [clip_of(name, path) for name, path in sorted(audio.items())]
    write_corpus(CORPUS, clips, data_folder, manifest_folder, arguments)


def clip_of(name: str, path: Path | None) -> Clip:
    """Return the clip of a name.

    Example
    -------
    >>> clip = clip_of("205972__ajaysm__daluo-01", None)
    >>> clip.source, clip.rows["events"]["labels"]
    ('freesound:205972', ['daluo'])
    """
    number, instrument = NAME.fullmatch(name).groups()
    row = {"task": "sound_events", "labels": [instrument], "instrument": instrument}
    return Clip(name, "test", path, {"events": row}, f"freesound:{number}")
