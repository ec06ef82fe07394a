"""Files, folders and patterns of the command line in, paths of audio files out."""

import glob
import os
from collections.abc import Iterable
from pathlib import Path

#: Endings of the files that are taken from a folder.
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif", ".au")


def find_files(arguments: Iterable[str]) -> list[str]:
    """Return the paths of audio files, in the order of the arguments.

    Arguments
    ---------
    arguments : list of str
        A file is returned as it is given; a folder stands for all audio files in it,
        and a pattern (``*.wav``) for the files that match it. An argument that is
        none of these is returned too, so that it is reported as a missing file.

    Returns
    -------
    files : list of str

    Raises
    ------
    ValueError
        If a folder holds no audio file.
    """
    files = []
    for argument in arguments:
        path = os.path.expanduser(argument)
        if os.path.isdir(path):
            files += files_of_folder(path)
        elif os.path.exists(path):
            files.append(path)
        else:
            files += sorted(glob.glob(path, recursive=True)) or [argument]
    return files


def files_of_folder(folder: str) -> list[str]:
    """Return the audio files of a folder and its subfolders, sorted."""
    paths = [
        str(path)
        for path in Path(folder).rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES
    ]
    if not paths:
        raise ValueError(
            f"{folder} holds no audio files ({', '.join(AUDIO_SUFFIXES)})."
        )
    return sorted(paths)
