"""A recording in a format of telephones and the web in, its samples out, by ffmpeg.

AAC and what else soundfile does not read is decoded by the program ``ffmpeg``, in
order, a block at a time; its lossless formats give the samples of the same WAV file.
It may open the file alone: lists of other files and addresses, which FFmpeg follows,
are refused.
"""

import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

#: Format -> what a file of it has, from which byte on.
MAGIC = {
    "M4A or MP4": (4, b"ftyp"),
    "AAC": (0, b"\xff\xf1"),
    "AAC, MPEG-2": (0, b"\xff\xf9"),
    "Matroska or WebM": (0, b"\x1a\x45\xdf\xa3"),
    "WMA": (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    "AMR": (0, b"#!AMR"),
}

#: FFmpeg's names of the containers; no list of other files is among them.
DEMUXERS = "mov,aac,matroska,asf,amr"

#: How to get the program.
INSTALL = (
    "install the program ffmpeg (apt install ffmpeg, brew install ffmpeg), or "
    "pip install 'pengi-plugin[m4a]'"
)

#: No recording is as long; what is not known stands for it.
UNKNOWN_LENGTH = 1 << 62

#: Samples that are skipped at a time.
BLOCK = 1 << 16


def ffmpeg_format(head: bytes) -> str | None:
    """Return which of the formats of ffmpeg a file has, by its first 16 bytes.

    Example
    -------
    >>> ffmpeg_format(b"\\x00\\x00\\x00\\x20ftypM4A ")
    'M4A or MP4'
    >>> ffmpeg_format(b"RIFF$\\x00\\x00\\x00WAVE")
    """
    for name, (start, magic) in MAGIC.items():
        if head[start:].startswith(magic):
            return name
    return None


def find_ffmpeg() -> str | None:
    """Return the program: the system's, or that of the extra ``m4a``; None without."""
    if program := shutil.which("ffmpeg"):
        return program
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return get_ffmpeg_exe()
    except (ImportError, RuntimeError):  # not installed, or not for this machine
        return None


class FfmpegFile:
    """An audio file that ffmpeg decodes, read as ``soundfile.SoundFile`` is.

    Arguments
    ---------
    source : str or file object
        The file, of which the first stream of sound is read. What a file object holds
        is copied to a temporary file.
    name : str
        What messages call the file.

    Raises
    ------
    ValueError
        If there is no ffmpeg, or it cannot decode the file; also while it is read.
    """

    format = "FFMPEG"
    frames = UNKNOWN_LENGTH  # a container's length counts what the encoder has added

    def __init__(self, source: str | BinaryIO, name: str):
        self.name = name
        self._program = find_ffmpeg()
        if self._program is None:
            raise ValueError(f"{name} needs ffmpeg to be decoded: {INSTALL}.")
        self._folder = tempfile.TemporaryDirectory()
        self._messages = Path(self._folder.name) / "messages"
        self._path = source
        if not isinstance(source, str):
            self._path = f"{self._folder.name}/copy"
            source.seek(0)
            with open(self._path, "wb") as copy:
                shutil.copyfileobj(source, copy)
        self._start()

    def _start(self) -> None:
        """Decode from the beginning, as AU: its header has the rate and channels."""
        command = [self._program, "-v", "error", "-nostdin", "-xerror"]
        command += ["-protocol_whitelist", "file", "-format_whitelist", DEMUXERS]
        command += ["-i", f"file:{self._path}", "-map", "0:a:0"]
        command += ["-c:a", "pcm_f32be", "-f", "au", "-"]
        with self._messages.open("wb") as messages:
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=messages
            )
        self._position = 0
        head = self._process.stdout.read(24)
        if len(head) < 24:
            self._fail()
        _, n_head, _, _, self.samplerate, self.channels = struct.unpack(">4s5I", head)
        self._process.stdout.read(n_head - 24)

    def seek(self, frame: int) -> None:
        """Go on at a frame: what lies before it is decoded, so that it is exact."""
        if frame < self._position:
            self._stop()
            self._start()
        while self._position < frame:
            if not len(self.read(min(BLOCK, frame - self._position))):
                return

    def read(self, frames: int, dtype="float32", always_2d=True) -> np.ndarray:
        """Read the next frames [frame, channel]; fewer at the end of the file."""
        n_byte = 4 * self.channels
        content = self._process.stdout.read(frames * n_byte)
        if len(content) < frames * n_byte and self._process.wait() != 0:
            self._fail()
        samples = np.frombuffer(content[: len(content) // n_byte * n_byte], dtype=">f4")
        found = samples.astype(dtype).reshape(-1, self.channels)
        self._position += len(found)
        return found

    def _fail(self) -> None:
        self._process.wait()
        messages = self._messages.read_text(errors="replace").splitlines()
        self.close()
        reason = messages[-1] if messages else "it holds no audio"
        reason = reason.replace(f"file:{self._path}", self.name)
        raise ValueError(f"{self.name} cannot be decoded by ffmpeg ({reason}).")

    def _stop(self) -> None:
        self._process.kill()
        self._process.stdout.close()
        self._process.wait()

    def close(self) -> None:
        """End the program."""
        self._stop()
        self._folder.cleanup()
