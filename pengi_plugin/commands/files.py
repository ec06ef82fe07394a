"""Files, folders and patterns of the command line in, paths of audio files out."""

import glob
import os
import sys
from collections.abc import Iterable
from pathlib import Path

#: Endings of the files that are taken from a folder.
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif", ".au")

#: Endings of those that are taken too where ffmpeg is there to decode them.
FFMPEG_SUFFIXES = (".m4a", ".aac", ".mp4", ".wma", ".webm", ".mka", ".amr")

#: So many files of a folder that are no audio are named.
N_NAMED = 10

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

    What is skipped is named on standard error: each recording in a format that would
    need ffmpeg, and the first of the files that are no audio.
    """
    from pengi_plugin.data.ffmpeg import INSTALL, find_ffmpeg

    has_ffmpeg = find_ffmpeg() is not None
    taken = AUDIO_SUFFIXES + (FFMPEG_SUFFIXES if has_ffmpeg else ())
    paths = sorted(str(path) for path in Path(folder).rglob("*") if path.is_file())
    suffixes = {path: Path(path).suffix.lower() for path in paths}
    audio = [path for path in paths if suffixes[path] in taken]
    for path in paths:
        if suffixes[path] in FFMPEG_SUFFIXES and not has_ffmpeg:
            print(
                f"{path} is skipped: {suffixes[path]} needs ffmpeg; {INSTALL}.",
                file=sys.stderr,
            )
    known = (*AUDIO_SUFFIXES, *FFMPEG_SUFFIXES)
    others = [os.path.relpath(p, folder) for p in paths if suffixes[p] not in known]
    if others:
        rest = [f"and {len(others) - N_NAMED} more"] if len(others) > N_NAMED else []
        named = ", ".join(others[:N_NAMED] + rest)
        print(
            f"{folder}: what does not end in {', '.join(taken)} is skipped: {named}",
            file=sys.stderr,
        )
    if not audio:
        raise ValueError(f"{folder} holds no audio files ({', '.join(taken)}).")
    return audio
