"""Files, folders and patterns of the command line in, paths of audio files out."""

import glob
import os
import sys
from collections.abc import Iterable
from pathlib import Path

#: Endings of the files that are taken from a folder.
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif", ".au")

#: Endings of recordings that soundfile does not read.
OTHER_AUDIO = (".m4a", ".aac", ".mp4", ".wma", ".webm", ".mka", ".amr")

#: What stands for standard input.
STDIN = "-"


def given_files(files: Iterable[str], files_from: str | None) -> list[str]:
    """Return the files of a command, and then those of its list.

    Arguments
    ---------
    files : list of str
        As of ``find_files``.
    files_from : str
        A file with a path on each line, or ``-`` for standard input. A line is a path
        as it stands, neither a folder nor a pattern.

    Raises
    ------
    ValueError
        If there are no files.
    """
    found = find_files(files)
    if files_from is not None:
        if files_from == STDIN:
            text = sys.stdin.read()
        else:
            text = Path(files_from).expanduser().read_text("utf-8")
        found += [line for line in text.split("\n") if line]
    if not found:
        raise ValueError("Give audio files, folders or patterns, or --files-from LIST.")
    return found


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


def has_audio(folder: str) -> bool:
    """Tell whether there is an audio file in a folder or its subfolders."""
    found = Path(folder).rglob("*")
    return any(path.suffix.lower() in AUDIO_SUFFIXES for path in found)


def files_of_folder(folder: str) -> list[str]:
    """Return the audio files of a folder and its subfolders, sorted.

    What is skipped is named on standard error: each recording in a format that is not
    read, and how many files are no audio.
    """
    paths = sorted(str(path) for path in Path(folder).rglob("*") if path.is_file())
    suffixes = {path: Path(path).suffix.lower() for path in paths}
    audio = [path for path in paths if suffixes[path] in AUDIO_SUFFIXES]
    for path in paths:
        if suffixes[path] in OTHER_AUDIO:
            print(
                f"{path} is skipped: soundfile does not read {suffixes[path]}; convert "
                "it to WAV or FLAC.",
                file=sys.stderr,
            )
    n_other = sum(s not in (*AUDIO_SUFFIXES, *OTHER_AUDIO) for s in suffixes.values())
    if n_other:
        print(
            f"{folder}: {n_other} files are skipped, as their names do not end in "
            f"{', '.join(AUDIO_SUFFIXES)}.",
            file=sys.stderr,
        )
    if not audio:
        raise ValueError(
            f"{folder} holds no audio files ({', '.join(AUDIO_SUFFIXES)})."
        )
    return audio
