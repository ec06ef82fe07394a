"""GTZAN music/speech: 128 clips of 30 s, half music, half speech; a test set out.

Layout: ``music_wav/`` and ``speech_wav/`` of ``music_speech.tar.gz``; in some copies
``music/`` and ``speech/``. A clip's class is the name of its folder.

Rows are ``sound_events`` with the class as label. There is no official split: all clips
are ``test``.

Certain: the two classes. From memory: the folders' names, the counts (another source
has 120 clips) and the home page.

Reference: G. Tzanetakis, *GTZAN music/speech collection*, 1999. The authors' download
has ended.

Licence: none stated.
"""

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
    name="gtzan_music_speech",
    title="GTZAN, music/speech",
    tasks=("sound_events",),
    clips={"test": 128},
    hours=1.1,
    licence="none stated",
    home="http://marsyas.info/downloads/datasets.html (ended)",
    use="test",
    citation="Tzanetakis, GTZAN music/speech collection, 1999",
)

#: Name of a folder -> the label of its clips.
FOLDERS = {
    "music": "music",
    "music_wav": "music",
    "speech": "speech",
    "speech_wav": "speech",
}
CLASSES = ["music", "speech"]


def prepare_gtzan_music_speech(data_folder: str, manifest_folder: str) -> None:
    """Write ``test.json``; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        Where ``music_wav/`` and ``speech_wav/`` are, at any depth.
    manifest_folder : str
        Where the manifest is written.

    Raises
    ------
    FileNotFoundError
        If there are no such folders with audio.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "gtzan_music_speech", "version": VERSION}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    audio = find_audio(data_folder, name_of)
    require_audio(audio, data_folder, "music_wav/ and speech_wav/ with clips in them")
    clips = [clip_of(name, path) for name, path in sorted(audio.items())]
    write_corpus(CORPUS, clips, data_folder, manifest_folder, arguments)


def name_of(path: Path) -> str | None:
    """Return class and file name of a clip; None if its folder is of no class.

    Example
    -------
    >>> name_of(Path("music_speech/music_wav/bagpipe.wav"))
    'music_bagpipe'
    """
    label = FOLDERS.get(path.parent.name)
    return label and f"{label}_{path.stem}"


def clip_of(name: str, path: Path) -> Clip:
    """Return the clip of a name that ``name_of`` made."""
    row = {"task": "sound_events", "labels": [name.split("_")[0]]}
    return Clip(name, "test", path, {"events": row})
