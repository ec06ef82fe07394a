"""Recordings of any length in, clips of the model's length out, nothing random."""

from pathlib import Path

import soundfile
import torch
from torch import Tensor


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


def is_remote(path: str) -> bool:
    """Tell a web address or a hub file (``owner/name/file``) from a local path.

    Example
    -------
    >>> [is_remote(path) for path in ("https://a.org/b.wav", "me/model/b.wav", "b.wav")]
    [True, True, False]
    """
    if path.startswith(("http://", "https://")):
        return True
    first = path.split("/")[0]
    is_path = first in ("", ".", "..", "~") or Path(first).exists()
    return path.count("/") >= 2 and not is_path


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
