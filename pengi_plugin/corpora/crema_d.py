"""CREMA-D: 7,442 sentences by 91 actors in six emotions; its folder in, a test set out.

Layout: the repository, with ``AudioWAV/1001_DFA_ANG_XX.wav`` and, for naming files that
are missing, ``SentenceFilenames.csv``; or any folder of these files. In the repository
they are Git LFS files: ``git lfs pull`` fetches them, a download as zip does not.

A file's name is actor, sentence, emotion and level. Rows are ``speech_emotion`` with
the emotion that was acted (not the one that viewers saw, which ``processedResults``
holds); fields: ``actor``, ``sentence``, ``level`` (LO, MD, HI, or XX: not specified).
There is no official split: all clips are ``test``.

Certain, counted in the list of files: names, classes and counts. From memory: the
hours; 1076_MTI_SAD_XX is silent; old copies hold 1040_ITH_SAD_X, which is taken for
1040_ITH_SAD_XX.

Reference: H. Cao et al., *CREMA-D: Crowd-Sourced Emotional Multimodal Actors Dataset*,
IEEE TAFFC 2014. Home: https://github.com/CheyneyComputerScience/CREMA-D

Licence: ODbL 1.0, contents DbCL 1.0.
"""

import re
from pathlib import Path

from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    Clip,
    Corpus,
    find_audio,
    read_table,
    require_audio,
    write_corpus,
)

#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1

CORPUS = Corpus(
    name="crema_d",
    title="CREMA-D",
    tasks=("speech_emotion",),
    clips={"test": 7_442},
    hours=5.3,
    licence="ODbL 1.0, contents DbCL 1.0",
    home="https://github.com/CheyneyComputerScience/CREMA-D",
    use="test",
    citation="Cao et al., CREMA-D, IEEE TAFFC 2014",
)

#: Official code -> its name in answers.
EMOTIONS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
CLASSES = list(EMOTIONS.values())

NAME = re.compile(rf"(\d{{4}})_([A-Z]{{3}})_({'|'.join(EMOTIONS)})_(LO|MD|HI|XX|X)")


def prepare_crema_d(data_folder: str, manifest_folder: str) -> None:
    """Write ``test.json``; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        The repository, or a folder of its audio files.
    manifest_folder : str
        Where the manifest is written.

    Raises
    ------
    FileNotFoundError
        If no file has a name of CREMA-D.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "crema_d", "version": VERSION}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    wav = data_folder / "AudioWAV"  # not AudioMP3 or VideoFlash beside it
    audio = find_audio(wav if wav.is_dir() else data_folder, name_of)
    require_audio(audio, data_folder, "AudioWAV/1001_DFA_ANG_XX.wav and so on")
    names = set(audio)
    listed = data_folder / "SentenceFilenames.csv"
    if listed.is_file():
        lines = read_table(listed, ["Filename"])
        names |= {name_of(Path(f"{line['Filename']}.wav")) for line in lines} - {None}
    clips = [clip_of(name, audio.get(name)) for name in sorted(names)]
    write_corpus(CORPUS, clips, data_folder, manifest_folder, arguments)


def name_of(path: Path) -> str | None:
    """Return the official name of a clip; None if it is none.

    Example
    -------
    >>> name_of(Path("1040_ITH_SAD_X.wav"))
    '1040_ITH_SAD_XX'
    """
    found = NAME.fullmatch(path.stem)
    return found and re.sub("_X$", "_XX", path.stem)


def clip_of(name: str, path: Path | None) -> Clip:
    """Return the clip of a name.

    Example
    -------
    >>> clip_of("1001_DFA_ANG_XX", None).rows["emotion"]["emotion"]
    'anger'
    """
    actor, sentence, emotion, level = NAME.fullmatch(name).groups()
    rows = {"emotion": {"task": "speech_emotion", "emotion": EMOTIONS[emotion]}}
    fields = {"actor": actor, "sentence": sentence, "level": level}
    return Clip(name, "test", path, rows, fields=fields)
