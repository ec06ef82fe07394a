"""Audio files of any rate, channels and length in, mono waveforms at one rate out.

This is the one reader of training, inference and evaluation. A ``Recording`` is a
file seen as one waveform at the model's rate, of which any part can be read; a clip,
a window and the whole are such parts, so that all of them hold the same samples. The
file may be a clip in a shard (see ``data.shards``). Nothing here is random.
"""

import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import torch
from torch import Tensor

from pengi_plugin.data.ffmpeg import FfmpegFile, ffmpeg_format
from pengi_plugin.data.resample import make_resampler
from pengi_plugin.data.shards import MemberFile, is_member, open_member

logger = logging.getLogger(__name__)

#: What can be opened: a path, a reference to a clip in a shard, or a file object whose
#: position can be set.
AudioSource = str | os.PathLike | BinaryIO

#: Input samples that are read at a time where all of a file is read.
BLOCK = 1 << 18

#: libsndfile gives the largest count there is where a header has no length.
MAX_LENGTH = 1 << 60

#: A larger sample is a damaged file: no power of it could be computed in float32.
LARGEST = 1e12

#: A higher sampling rate (Hz) is a damaged header; ultrasound recorders reach this.
MAX_RATE = 1_000_000

#: Share of the last window that must not be in the one before.
MIN_NEW = 0.1

#: After a seek, libsndfile may decode the first block of an Ogg file wrongly. So it
#: is decoded from so many samples earlier: the longest block of Vorbis.
N_PREROLL = {"OGG": 8192}


def mix_to_mono(wavs: Tensor) -> Tensor:
    """Average channels: [batch, sample, channel] -> [batch, sample].

    Example
    -------
    >>> mix_to_mono(torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]))
    tensor([[0.5000, 0.0000]])
    """
    if wavs.dim() < 3:
        return wavs
    # Channel by channel, so that the order of the sum does not depend on the length.
    return sum(wavs.unbind(-1)) / wavs.shape[-1]


def repeat_or_trim(wavs: Tensor, wav_lens: Tensor, n_sample: int) -> Tensor:
    """Repeat short recordings to ``n_sample`` samples, keep the beginning of long ones.

    Arguments
    ---------
    wavs : torch.Tensor
        Recordings, right-padded [batch, sample].
    wav_lens : torch.Tensor
        Their lengths relative to the longest [batch]; padding is not repeated.
    n_sample : int
        Length of a clip.

    Returns
    -------
    clips : torch.Tensor
        [batch, n_sample]

    Raises
    ------
    ValueError
        If a recording is empty.

    Example
    -------
    >>> wavs = torch.tensor([[1, 2, 0], [3, 4, 5]])
    >>> repeat_or_trim(wavs, torch.tensor([2 / 3, 1]), 5)
    tensor([[1, 2, 1, 2, 1],
            [3, 4, 5, 3, 4]])
    """
    lengths = (wav_lens.to(wavs.device) * wavs.shape[1]).round().long()
    if wavs.shape[1] == 0 or bool((lengths < 1).any()):
        raise ValueError(
            f"A recording is empty; lengths are {lengths.tolist()} samples."
        )
    index = torch.arange(n_sample, device=wavs.device) % lengths[:, None]
    return wavs.gather(1, index)


def window_starts(n_sample: int, n_window: int, n_overlap: int = 0) -> list[int]:
    """Return where windows begin that cover a recording.

    They lie side by side, or overlap by ``n_overlap`` samples; the last one ends with
    the recording, so that it is as long as the others. Where less than a tenth of it
    would be new, and less than of the others, it is left out: it would be a near-copy
    of the one before, and the rest of the recording is in no window. A recording
    shorter than a window has one.

    Example
    -------
    >>> window_starts(25, 10)
    [0, 10, 15]
    >>> window_starts(201, 100)
    [0, 100]
    >>> window_starts(25, 10, n_overlap=5)
    [0, 5, 10, 15]
    >>> window_starts(4, 10)
    [0]
    """
    last, n_step = max(n_sample - n_window, 0), n_window - n_overlap
    starts = [*range(0, last, n_step)]
    if starts and last - starts[-1] < min(MIN_NEW * n_window, n_step):
        return starts
    return [*starts, last]


def open_audio(path: str | os.PathLike) -> BinaryIO:
    """Open an audio file or a clip in a shard, to read its bytes.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    """
    return open_member(path) if is_member(path) else open(path, "rb")


class NotFiniteError(ValueError):
    """An audio file has samples that are NaN or infinite."""


class Recording:
    """An audio file as a mono waveform at a given rate, read part by part.

    Only what is asked for is read and kept, so a recording may be hours long. The
    samples of a part do not depend on how the recording is divided into parts: they
    are bit-identical to those of the whole. (MP3 alone: after a jump to another part
    of the file, its decoder rounds differently by up to 1.2e-7.)

    Arguments
    ---------
    source : str, Path or file object
        The file, of any format that soundfile reads: WAV, FLAC, OGG, MP3 and more; or
        of those of ``data.ffmpeg``: M4A, AAC and more, where ffmpeg is installed; or
        a reference to a clip in a shard.
    sample_rate : int
        Of the waveform, in Hz; None for the file's own rate.
    name : str
        What messages call the file; by default its path.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If neither can read it. While samples are read: if the file is damaged, or
        samples are NaN or infinite.

    Example
    -------
    >>> path = getfixture("tmp_path") / "stereo.wav"
    >>> soundfile.write(path, np.zeros((44100, 2)), 44100)
    >>> with Recording(path, 16000) as recording:
    ...     recording.n_sample, recording.read(start=15000).shape
    (16000, torch.Size([1000]))
    """

    def __init__(
        self, source: AudioSource, sample_rate: int | None, name: str | None = None
    ):
        self.name = name or str(source)
        if is_member(source):
            source = open_member(source)
        is_path = isinstance(source, str | os.PathLike)
        if is_path and not Path(source).is_file():
            raise FileNotFoundError(f"There is no file {self.name}.")
        self._source = str(source) if is_path else source
        self._n_frame: int | None = None
        self._open()
        self.rate = self._file.samplerate
        if not 0 < self.rate <= MAX_RATE:
            self.close()
            raise ValueError(
                f"{self.name} has a sampling rate of {self.rate} Hz; the highest that "
                f"is read is {MAX_RATE} Hz. Its header may be damaged."
            )
        self.sample_rate = sample_rate or self.rate
        self._resampler = make_resampler(self.rate, self.sample_rate)

    def _open(self) -> None:
        if not isinstance(self._source, str):
            self._source.seek(0)  # an opened file object may be anywhere
        try:
            self._file = SequentialFile(self._source)
        except (soundfile.LibsndfileError, TypeError) as error:
            self._check_bytes()
            if ffmpeg_format(self._head()) is None:
                raise self._unreadable(error) from error
            self._file = FfmpegFile(self._source, self.name)
        self._next_frame = 0  # the input sample that the decoder gives next
        # The input samples that were read last, and the index of the first of them.
        self._block, self._block_start = np.zeros(0, dtype=np.float32), 0

    def _head(self) -> bytes:
        """Return the first bytes, which tell the format."""
        if isinstance(self._source, str):
            with open(self._source, "rb") as file:
                return file.read(16)
        self._source.seek(0)
        return self._source.read(16)

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def n_sample(self) -> int:
        """Length of the waveform, in samples at the given rate.

        A file whose header tells no length (all that ffmpeg reads), or that ends
        before it, is decoded once to count its samples.
        """
        if self._n_frame is None:
            self._n_frame = self._count_frames()
        return self._resampler.output_length(self._n_frame)

    def lasts_longer(self, seconds: float) -> bool:
        """Tell whether the recording is longer; no more than ``seconds`` are decoded.

        A small file may hold days of silence, and a header tells no length, or another.
        """
        if self._n_frame is None:
            most = int(seconds * self.rate)
            counted = self._count_frames(most)
            if counted > most:
                return True
            self._n_frame = counted
        return self._n_frame > seconds * self.rate

    def read(self, start: int = 0, n_sample: int | None = None) -> Tensor:
        """Read a part of the waveform.

        Arguments
        ---------
        start : int
            Its first sample, at the given rate.
        n_sample : int
            Its length; None for all that follows.

        Returns
        -------
        wav : torch.Tensor
            [n_sample], or fewer where the recording ends before.
        """
        if n_sample is not None:
            return torch.from_numpy(self._read(start, start + n_sample))
        n_block = self._resampler.output_length(BLOCK)
        parts = []
        while not parts or len(parts[-1]) == n_block:
            parts.append(self._read(start, start + n_block))
            start += n_block
        return torch.from_numpy(np.concatenate(parts))

    def _read(self, start: int, stop: int) -> np.ndarray:
        first, last = self._resampler.input_range(start, stop)
        return self._resampler(self._read_frames(first, last), first, start, stop)

    def _read_frames(self, start: int, stop: int) -> np.ndarray:
        """Return input samples as mono [stop - start]; fewer at the file's end.

        What the last call has read is taken from memory, so that parts in order are
        read without a seek, although the filter makes them overlap.
        """
        end = self._block_start + len(self._block)
        if not self._block_start <= start <= end:
            self._block, self._block_start, end = self._block[:0], start, start
        kept = self._block[start - self._block_start :]
        if stop > end:
            kept = np.concatenate([kept, self._decode(end, stop - end)])
        self._block, self._block_start = kept, start
        return kept[: stop - start]

    def _decode(self, start: int, n_frame: int) -> np.ndarray:
        """Return input samples from the file, mixed and checked."""
        if start >= self._file.frames:
            return np.zeros(0, dtype=np.float32)
        try:
            if start != self._next_frame:
                n_preroll = min(N_PREROLL.get(self._file.format, 0), start)
                self._file.seek(start - n_preroll)
                self._file.read(n_preroll, dtype="float32")
            frames = self._file.read(n_frame, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            self._check_bytes()
            raise self._unreadable(error) from error
        self._check_bytes()
        self._next_frame = start + len(frames)
        wav = mix_to_mono(torch.from_numpy(frames)[None])[0].numpy()
        is_finite = np.abs(wav) <= LARGEST
        if not is_finite.all():
            second = (start + int(is_finite.argmin())) / self.rate
            raise NotFiniteError(
                f"{self.name} has samples that are NaN or infinite, or larger than "
                f"{LARGEST:g}, the first of them at {second:.3f} s; repair the file or "
                "leave it out."
            )
        return wav

    def _count_frames(self, most: float = math.inf) -> int:
        """Return the number of input samples: the header's if the last one is there.

        Where they must be decoded, counting ends with the first block behind ``most``.
        """
        declared = self._file.frames
        if declared == 0:
            return 0
        try:
            if declared < MAX_LENGTH:
                self._file.seek(declared - 1)
                if len(self._file.read(1)):
                    return declared
                self._check_bytes()
            self._file.seek(0)
            counted = 0
            while n_read := len(self._file.read(BLOCK, dtype="float32")):
                counted += n_read
                if counted > most:
                    return counted
            self._check_bytes()
        except soundfile.LibsndfileError as error:
            raise self._unreadable(error) from error
        finally:
            self.close()
            self._open()  # after a seek, MP3's decoder would round differently
        if declared < MAX_LENGTH:
            logger.warning(
                "%s ends after %.2f s; its header says %.2f s.",
                *(self.name, counted / self.rate, declared / self.rate),
            )
        return counted

    def _check_bytes(self) -> None:
        """Raise ValueError if bytes of a clip in a shard could not be read."""
        if isinstance(self._source, MemberFile) and self._source.failure:
            failure = self._source.failure
            raise ValueError(f"{self.name} cannot be read: {failure}") from failure

    def _unreadable(self, error: Exception) -> ValueError:
        reason = getattr(error, "error_string", str(error))
        return ValueError(
            f"{self.name} cannot be read as audio ({reason}) Formats are those of "
            "soundfile (WAV, FLAC, OGG, MP3 and more) and, with ffmpeg, AAC, M4A, WMA, "
            "WebM and AMR."
        )


class SequentialFile(soundfile.SoundFile):
    """An audio file that is read on from where it is.

    After every read of a seekable file, soundfile seeks to the position that the file
    already has. In compressed formats that restarts the decoder, and at the end of a
    file without a declared length it is an error. Here no file counts as seekable;
    ``seek`` works all the same.
    """

    def seekable(self) -> bool:
        """Return False, so that ``read`` does not seek."""
        return False


def read_recording(
    source: AudioSource, sample_rate: int, name: str | None = None
) -> Tensor:
    """Read all of a recording: [sample]. Arguments and errors are ``Recording``'s.

    Raises
    ------
    ValueError
        Also if it holds no samples.
    """
    with Recording(source, sample_rate, name) as recording:
        return _not_empty(recording.read(), recording.name)


def read_clip(
    source: AudioSource,
    sample_rate: int,
    n_sample: int,
    offset: float = 0.0,
    name: str | None = None,
) -> Tensor:
    """Read a clip of fixed length: a part of a long recording, a short one repeated.

    Arguments
    ---------
    source : str, Path or file object
        As of ``Recording``, and so are the errors.
    sample_rate : int
        Of the result, in Hz.
    n_sample : int
        Length of the result.
    offset : float
        Where a long recording is cropped: 0 is its beginning, 1 its end.
    name : str
        What messages call the file; by default its path.

    Returns
    -------
    clip : torch.Tensor
        [n_sample]; with ``start`` the sample at which it begins, these are samples
        ``start : start + n_sample`` of ``read_recording``, bit by bit.

    Raises
    ------
    ValueError
        Also if the recording holds no samples.
    """
    with Recording(source, sample_rate, name) as recording:
        start = 0
        if offset > 0:
            start = round(offset * max(recording.n_sample - n_sample, 0))
        wav = _not_empty(recording.read(start, n_sample), recording.name)
    if len(wav) == n_sample:
        return wav
    return repeat_or_trim(wav[None], torch.ones(1), n_sample)[0]


def read_windows(
    source: AudioSource,
    sample_rate: int,
    n_sample: int,
    name: str | None = None,
    n_overlap: int = 0,
) -> Iterator[tuple[int, Tensor]]:
    """Read a recording of any length window by window, of which one is in memory.

    Arguments
    ---------
    source : str, Path or file object
        As of ``Recording``, and so are the errors.
    sample_rate : int
        Of the windows, in Hz.
    n_sample : int
        Length of a window.
    name : str
        What messages call the file; by default its path.
    n_overlap : int
        Samples that a window shares with the one before, fewer than ``n_sample``.

    Yields
    ------
    start : int
        First sample of the window; see ``window_starts``.
    wav : torch.Tensor
        [n_sample]; fewer if the whole recording is shorter.

    Raises
    ------
    ValueError
        Also if the recording holds no samples.
    """
    with Recording(source, sample_rate, name) as recording:
        for start in window_starts(recording.n_sample, n_sample, n_overlap):
            yield start, _not_empty(recording.read(start, n_sample), recording.name)


def _not_empty(wav: Tensor, name: str) -> Tensor:
    """Return a waveform; raise ValueError if it is empty."""
    if not len(wav):
        raise ValueError(f"{name} holds no samples; leave it out.")
    return wav
