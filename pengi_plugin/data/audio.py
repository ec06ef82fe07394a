"""Recordings of any length in, clips of the model's length out, nothing random."""

import math
from functools import lru_cache
from pathlib import Path

import soundfile
import torch
from torch import Tensor
from torchaudio.transforms import Resample


def mixed(wavs: Tensor) -> Tensor:
    """Mix channels to mono: [batch, sample, channel] -> [batch, sample].

    Example
    -------
    >>> mixed(torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]))
    tensor([[0.5000, 0.0000]])
    """
    return wavs.mean(-1) if wavs.dim() == 3 else wavs


def fitted(wavs: Tensor, wav_lens: Tensor, n_sample: int) -> Tensor:
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
    >>> fitted(torch.tensor([[1, 2, 0], [3, 4, 5]]), torch.tensor([2 / 3, 1]), 5)
    tensor([[1, 2, 1, 2, 1],
            [3, 4, 5, 3, 4]])
    """
    lengths = (wav_lens.to(wavs.device) * wavs.shape[1]).round().long()
    if wavs.shape[1] == 0 or bool((lengths < 1).any()):
        raise ValueError(
            f"A recording is empty; lengths are {lengths.tolist()} samples."
        )
    place = torch.arange(n_sample, device=wavs.device) % lengths[:, None]
    return wavs.gather(1, place)


def window_starts(n_sample: int, n_window: int) -> list[int]:
    """Return where windows begin that cover a recording.

    They lie side by side; the last one ends with the recording, so that it is as
    long as the others. A recording shorter than a window has one.

    Example
    -------
    >>> window_starts(25, 10)
    [0, 10, 15]
    >>> window_starts(4, 10)
    [0]
    """
    last = max(n_sample - n_window, 0)
    return [*range(0, last, n_window), last]


def check_audio(path: str) -> None:
    """Say what is wrong with a file that holds no sound.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If soundfile cannot read it, or it is empty.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        n_frame = soundfile.info(path).frames
    except soundfile.LibsndfileError as error:
        raise ValueError(
            f"{path} cannot be read as audio ({error.error_string}) Formats are those "
            "of soundfile: WAV, FLAC, OGG, MP3 and more, but not AAC or M4A."
        ) from error
    if n_frame == 0:
        raise ValueError(f"{path} holds no samples.")


def read_clip(
    path: str | Path, sample_rate: int, n_sample: int, place: float = 0.0
) -> Tensor:
    """Read a clip of fixed length from a file of any rate, channels and length.

    Channels are mixed; a short file is repeated; of a long one only the part that is
    needed is read.

    Arguments
    ---------
    path : str
        The file, of any format that soundfile reads.
    sample_rate : int
        Of the result, in Hz.
    n_sample : int
        Length of the result.
    place : float
        Where a long file is cropped: 0 its beginning, 1 its end.

    Returns
    -------
    clip : torch.Tensor
        [n_sample]

    Raises
    ------
    ValueError
        If the file cannot be read or holds nothing.
    """
    try:
        with soundfile.SoundFile(str(path)) as file:
            rate = file.samplerate
            wanted = math.ceil(n_sample * rate / sample_rate)
            if file.frames > wanted:
                file.seek(round(place * (file.frames - wanted)))
            wav = file.read(wanted, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(
            f"{path} cannot be read ({error.error_string}); prepare the corpus again: "
            "preparation lists such files and leaves them out."
        ) from error
    if not len(wav):
        raise ValueError(f"{path} holds no samples; leave it out of the manifest.")
    clip = torch.from_numpy(wav)
    clip = clip.mean(1) if wav.shape[1] > 1 else clip[:, 0]
    if rate != sample_rate:
        clip = resampler(rate, sample_rate)(clip)
    if len(clip) < n_sample:
        clip = clip.repeat(-(-n_sample // len(clip)))
    return clip[:n_sample]


@lru_cache(maxsize=16)
def resampler(rate: int, new_rate: int) -> Resample:
    """Return torchaudio's resampler, its filter computed once."""
    return Resample(rate, new_rate)
