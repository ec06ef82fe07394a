"""RAVDESS, speech: 1,440 sentences by 24 actors in eight emotions; a test set out.

Layout: ``Audio_Speech_Actors_01-24.zip`` unpacked, with files such as
``Actor_12/03-01-06-01-02-01-12.wav``. Of copies with the tree in it twice, one is read.
Files of song and of video are not read.

The seven numbers of a name are modality, channel, emotion, intensity, statement,
repetition and actor. Rows are ``speech_emotion``; fields: ``intensity``, ``statement``,
``actor``, ``gender``. There is no official split: all clips are ``test``.

Certain, from copies of the record's text: the seven numbers and the counts. From
memory: the hours.

Reference: S. R. Livingstone and F. A. Russo, *The Ryerson Audio-Visual Database of
Emotional Speech and Song*, PLoS ONE 2018. Home: https://zenodo.org/record/1188976

Licence: CC BY-NC-SA 4.0.
"""

from itertools import product
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
    name="ravdess",
    title="RAVDESS, speech",
    tasks=("speech_emotion",),
    clips={"test": 1_440},
    hours=1.5,
    licence="CC BY-NC-SA 4.0",
    home="https://zenodo.org/record/1188976",
    use="test",
    citation="Livingstone and Russo, RAVDESS, PLoS ONE 2018",
)

#: Official number -> its name in answers.
EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}
CLASSES = list(EMOTIONS.values())

INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {
    "01": "Kids are talking by the door",
    "02": "Dogs are sitting by the door",
}
ACTORS = [f"{number:02d}" for number in range(1, 25)]

#: Beginning of a name: audio only, speech.
AUDIO_SPEECH = "03-01"


def prepare_ravdess(data_folder: str, manifest_folder: str) -> None:
    """Write ``test.json``; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        Where ``Actor_01/`` to ``Actor_24/`` are, at any depth.
    manifest_folder : str
        Where the manifest is written.

    Raises
    ------
    FileNotFoundError
        If no file has a name of RAVDESS' speech.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "ravdess", "version": VERSION}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    expected = names()
    audio = find_audio(
        data_folder, lambda path: path.stem if path.stem in expected else None
    )
    require_audio(audio, data_folder, "Actor_01/03-01-01-01-01-01-01.wav and so on")
    clips = [clip_of(name, audio.get(name)) for name in expected]
    write_corpus(CORPUS, clips, data_folder, manifest_folder, arguments)


def names() -> dict[str, None]:
    """Return the names of all clips, in order.

    Example
    -------
    >>> len(names()), next(iter(names()))
    (1440, '03-01-01-01-01-01-01')
    """
    parts = product(ACTORS, EMOTIONS, INTENSITIES, STATEMENTS, ("01", "02"))
    return {
        f"{AUDIO_SPEECH}-{emotion}-{intensity}-{statement}-{repetition}-{actor}": None
        for actor, emotion, intensity, statement, repetition in parts
        if (EMOTIONS[emotion], INTENSITIES[intensity]) != ("neutral", "strong")
    }


def clip_of(name: str, path: Path | None) -> Clip:
    """Return the clip of a name.

    Example
    -------
    >>> clip_of("03-01-06-01-02-01-12", None).rows["emotion"]["emotion"]
    'fearful'
    """
    _, _, emotion, intensity, statement, _, actor = name.split("-")
    rows = {"emotion": {"task": "speech_emotion", "emotion": EMOTIONS[emotion]}}
    fields = {
        "intensity": INTENSITIES[intensity],
        "statement": STATEMENTS[statement],
        "actor": actor,
        "gender": "female" if int(actor) % 2 == 0 else "male",
    }
    return Clip(name, "test", path, rows, fields=fields)
