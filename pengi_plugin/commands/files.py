"""Words of the command line in, audio files out."""

import glob
from collections.abc import Iterable
from pathlib import Path

#: Files that are taken from a folder.
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif", ".au")


def find_files(words: Iterable[str]) -> list[str]:
    """Return files in order: a folder stands for its audio files, a pattern for its.

    A word that is neither stays, and is reported as a file that is not there.

    Raises
    ------
    ValueError
        If a folder holds no audio file.
    """
    files = []
    for word in words:
        path = Path(word).expanduser()
        if path.is_dir():
            found = sorted(
                str(file)
                for file in path.rglob("*")
                if file.suffix.lower() in AUDIO_SUFFIXES
            )
            if not found:
                raise ValueError(
                    f"{word} holds no audio files ({', '.join(AUDIO_SUFFIXES)})."
                )
        elif path.exists():
            found = [str(path)]
        else:
            found = sorted(glob.glob(str(path), recursive=True)) or [word]
        files += found
    return files
