"""A recording and its windows in, a picture of what the model hears out.

The log-mel spectrogram is that of the model's own front end (``features`` of its audio
encoder), so the picture shows what the encoder sees.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

#: Columns of the waveform's outline; a picture has no more.
N_COLUMN = 1200

#: Width and height in inches, and points per inch.
SIZE, DPI = (8.0, 3.6), 100

WAVE, MARK = "#4f46e5", "#f59e0b"


def draw(model, wav: Tensor, windows: Sequence[tuple[float, float]]) -> np.ndarray:
    """Draw a waveform above its log-mel spectrogram, with windows marked.

    Arguments
    ---------
    model : AudioLanguageModel
        Model whose front end makes the spectrogram.
    wav : torch.Tensor
        Recording at the model's rate [sample].
    windows : list of (float, float)
        Start and end of each window that was answered, in seconds.

    Returns
    -------
    picture : numpy.ndarray
        [height, width, RGB]; without a spectrogram if the encoder reads waveforms.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # not pyplot: several visitors at once

    rate = model.hparams.sample_rate
    seconds = len(wav) / rate
    mel = log_mel(model, wav)
    n_row = 1 if mel is None else 2
    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(n_row, 1, sharex=True, squeeze=False)[:, 0]
    low, high = (part.numpy() for part in outline(wav))
    times = np.linspace(0, seconds, len(low))
    axes[0].fill_between(times, low, high, color=WAVE, linewidth=0.3)
    peak = max(float(wav.abs().max()), 1e-3)
    axes[0].set(ylabel="waveform", ylim=(-1.1 * peak, 1.1 * peak), xlim=(0, seconds))
    if mel is not None:
        extent = (0, seconds, 0, mel.shape[1])
        axes[1].imshow(mel.T.numpy(), origin="lower", aspect="auto", extent=extent)
        axes[1].set(ylabel="log-mel band")
    axes[-1].set_xlabel("seconds")
    for number, (start, end) in enumerate(windows, start=1):
        for axis in axes:
            axis.axvspan(start, end, fill=False, edgecolor=MARK, linewidth=1.6)
        if len(windows) <= 20:
            axes[0].text(start, peak, f" {number}", color="#92400e", va="top")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def log_mel(model, wav: Tensor) -> Tensor | None:
    """Return what the model's front end makes of a recording [frame, mel], in dB.

    None if its encoder reads the waveform. A recording too short for one frame is
    repeated, as the model repeats it.
    """
    features = getattr(model.mods.pengi.audio_encoder, "features", None)
    if features is None:
        return None
    least = getattr(features, "n_fft", 0)
    wav = wav.repeat(-(-least // len(wav)) or 1)
    with torch.inference_mode():
        mel = features(wav[None].to(model.device))[0].float().cpu()
    return mel if mel.dim() == 2 else None


def outline(wav: Tensor, n_column: int = N_COLUMN) -> tuple[Tensor, Tensor]:
    """Return the least and the largest sample of each of at most ``n_column`` parts.

    Example
    -------
    >>> outline(torch.tensor([0.0, 1.0, -1.0, 0.5]), 2)
    (tensor([ 0., -1.]), tensor([1.0000, 0.5000]))
    """
    n_part = -(-len(wav) // n_column)
    padding = -len(wav) % n_part
    parts = torch.cat([wav, wav[-1:].expand(padding)]).view(-1, n_part)
    return parts.amin(1), parts.amax(1)
