"""Audio files in; how long they are, what is wrong with them, and their states out."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import soundfile
from tqdm import tqdm

from pengi_plugin.data.audio import MAX_LENGTH, Recording, open_audio
from pengi_plugin.data.ffmpeg import ffmpeg_format
from pengi_plugin.data.file_state import file_state
from pengi_plugin.data.shards import is_member

#: Endings of files that count as audio when a folder is searched.
AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aiff", ".au")

#: Formats whose last sample can be reached without decoding the whole file.
SEEKABLE = {"WAV", "WAVEX", "FLAC", "AIFF", "AU", "W64", "RF64"}

#: How the text begins that Git LFS leaves where a file was not fetched.
LFS_POINTER = b"version https://git-lfs"


def check_audio(path: str | Path, seconds: float | None = None) -> tuple[float, str]:
    """Look at the header and the end of an audio file.

    Arguments
    ---------
    path : str
        The file.
    seconds : float
        How long it should be, within a tenth of a second; None: any length.

    Returns
    -------
    duration : float
        In seconds; 0 where the file cannot be used.
    reason : str
        Why it cannot be used; empty if it can.

    Example
    -------
    >>> check_audio("no such file.wav")
    (0.0, 'missing')
    """
    path = str(path)
    try:
        if not file_state(path):
            return 0.0, "empty file" if os.path.isfile(path) else "missing"
        source = open_audio(path) if is_member(path) else path
        try:
            with soundfile.SoundFile(source) as file:
                n_frame, rate = file.frames, file.samplerate
                if n_frame < MAX_LENGTH and _is_cut_off(path, file):
                    return 0.0, f"truncated after {n_frame / rate:.2f} s"
        except soundfile.LibsndfileError:
            if not _needs_ffmpeg(path):
                raise
            n_frame, rate = MAX_LENGTH, None
        if n_frame >= MAX_LENGTH:  # the header has no length, so all is decoded
            with Recording(path, rate) as recording:
                n_frame, rate = recording.n_sample, recording.rate
    except soundfile.LibsndfileError as error:
        with open_audio(path) as stream:
            if stream.read(len(LFS_POINTER)) == LFS_POINTER:
                return 0.0, "a Git LFS pointer instead of the file: run git lfs pull"
        return 0.0, f"not readable: {error.error_string}"
    except (OSError, ValueError) as error:
        return 0.0, f"not readable: {error}"
    if n_frame == 0:
        return 0.0, "holds no samples"
    duration = n_frame / rate
    if seconds is not None and abs(duration - seconds) > 0.1:
        return 0.0, f"lasts {duration:.2f} s, not {seconds:g} s"
    return duration, ""


def _needs_ffmpeg(path: str) -> bool:
    with open_audio(path) as stream:
        return ffmpeg_format(stream.read(16)) is not None


def _is_cut_off(path: str, file: soundfile.SoundFile) -> bool:
    if file.format == "OGG":
        return not _ends_ogg_stream(path)
    if file.format in ("WAV", "WAVEX"):
        with open_audio(path) as stream:
            declared = int.from_bytes(stream.read(8)[4:], "little") + 8
            n_byte = stream.seek(0, os.SEEK_END)
        # 0xFFFFFFFF and 0 stand for a length unknown when writing began.
        if declared not in (0xFFFFFFFF + 8, 8) and n_byte < declared - 1:
            return True
    if file.format in SEEKABLE and file.frames:
        file.seek(file.frames - 1)
        return len(file.read(1)) == 0
    return False


def _ends_ogg_stream(path: str) -> bool:
    """Tell whether the last page of an Ogg file says that it is the last, and is
    whole (RFC 3533: byte 5 holds the flags, 26 the number of segments)."""
    with open_audio(path) as stream:
        n_byte = stream.seek(0, os.SEEK_END)
        stream.seek(max(n_byte - 131072, 0))  # a page has 65307 at most
        tail = stream.read()
    page = tail[max(tail.rfind(b"OggS"), 0) :]
    if len(page) < 27 or not page[5] & 4:
        return False
    sizes = page[27 : 27 + page[26]]
    return len(page) >= 27 + page[26] + sum(sizes)


def check_files(
    paths: Iterable[str | Path], seconds: float | None = None
) -> tuple[dict[str, float], dict[str, str]]:
    """Check many files, with a progress bar.

    Arguments
    ---------
    paths : list of str
        The files.
    seconds : float
        How long each should be; None: any length.

    Returns
    -------
    durations : dict
        Path -> seconds, of those that can be used.
    left_out : dict
        Path -> reason, of the others.
    """
    durations, left_out = {}, {}
    for path in tqdm([*paths], desc="checking audio", unit="file", leave=False):
        duration, reason = check_audio(path, seconds)
        if reason:
            left_out[str(path)] = reason
        else:
            durations[str(path)] = duration
    return durations, left_out


def audio_files(folder: str | Path) -> str:
    """Return a digest of the names of all audio files below a folder."""
    found = hashlib.sha256()
    for name in sorted(
        os.path.relpath(os.path.join(parent, name), folder)
        for parent, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(AUDIO_SUFFIXES)
    ):
        found.update(name.encode(errors="surrogateescape") + b"\0")
    return found.hexdigest()[:16]
