"""Waveforms in, log-mel spectrograms in dB out; and batch norm of their mel bands."""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional as F
from torchaudio.functional import melscale_fbanks


class LogMel(nn.Module):
    """Turn waveforms into log-mel spectrograms, always in float32.

    Hann window as long as the FFT, frames centred with reflect padding, power
    spectrum, Slaney mel bands of equal area (as librosa's), then
    ``10 * log10(max(power, 1e-10))``. No reference level and no ``top_db``.

    The released Pengi and MS-CLAP 2023 models apply mel bands built for 32 kHz to
    audio of 44.1 kHz, so that the band edges lie 44.1/32 times as high in Hz as
    ``f_min`` and ``f_max`` say. ``mel_sample_rate: 32000`` reproduces this.

    Arguments
    ---------
    sample_rate : int
        Sample rate of the waveforms, in Hz.
    n_fft : int
        Length of the FFT and of the window, in samples.
    hop_length : int
        Distance between frames, in samples.
    n_mels : int
        Number of mel bands.
    f_min : float
        Lower edge of the lowest band, in Hz.
    f_max : float
        Upper edge of the highest band, in Hz.
    mel_sample_rate : int, optional
        Sample rate for which the mel bands are built, in Hz; by default
        ``sample_rate``.

    Example
    -------
    >>> log_mel = LogMel(sample_rate=16000, f_max=8000)
    >>> log_mel(torch.zeros(2, 16000)).shape
    torch.Size([2, 51, 64])
    """

    def __init__(
        self,
        sample_rate: int,
        n_fft: int = 1024,
        hop_length: int = 320,
        n_mels: int = 64,
        f_min: float = 50.0,
        f_max: float = 14000.0,
        mel_sample_rate: int | None = None,
    ):
        super().__init__()
        rate = mel_sample_rate or sample_rate
        if not 0 <= f_min < f_max <= rate / 2:
            raise ValueError(
                "f_min and f_max must lie in 0 <= f_min < f_max <= half the rate of "
                f"the mel bands; got f_min={f_min}, f_max={f_max}, rate={rate} Hz."
            )
        self.sample_rate = sample_rate
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.n_mels = n_mels
        bands = melscale_fbanks(
            n_freqs=n_fft // 2 + 1,
            f_min=f_min,
            f_max=f_max,
            n_mels=n_mels,
            sample_rate=rate,
            norm="slaney",
            mel_scale="slaney",
        )
        self.register_buffer("bands", bands, persistent=False)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def n_frames(self, n_samples: int) -> int:
        """Return how many frames ``n_samples`` samples give.

        Example
        -------
        >>> LogMel(sample_rate=44100).n_frames(308700)
        965
        """
        return n_samples // self.hop_length + 1

    def forward(self, wavs: Tensor) -> Tensor:
        """Map [batch, sample] to [batch, frame, mel] in dB.

        Arguments
        ---------
        wavs : torch.Tensor
            Waveforms, full scale 1.0, [batch, sample].

        Returns
        -------
        torch.Tensor
            Log-mel spectrograms in dB, [batch, frame, mel]; float32 under autocast
            too, as 16 bits hold too little of a power spectrum's range or precision.

        Raises
        ------
        ValueError
            If the waveforms are too short for one frame, or not [batch, sample].
        """
        if wavs.dim() != 2 or wavs.shape[1] <= self.n_fft // 2:
            raise ValueError(
                f"wavs must be [batch, sample] with more than {self.n_fft // 2} "
                f"samples (half of n_fft); got shape {list(wavs.shape)}. "
                "Mix channels to mono and repeat short clips first."
            )
        with torch.autocast(device_type=wavs.device.type, enabled=False):
            spectrum = torch.stft(
                wavs.float(),
                self.n_fft,
                hop_length=self.hop_length,
                window=self.window,
                center=True,
                pad_mode="reflect",
                return_complex=True,
            )
            power = spectrum.real.square() + spectrum.imag.square()
            mel = power.transpose(1, 2) @ self.bands
            return 10.0 * torch.log10(mel.clamp(min=1e-10))  # as librosa: -100 dB


class MelBatchNorm(nn.Module):
    """Batch norm of each mel band over all clips and frames of all processes.

    In one process it is ``torch.nn.BatchNorm2d`` over mel bands. In several
    (torch.distributed), training statistics are those of the whole batch, also on
    CPU, where ``torch.nn.SyncBatchNorm`` is not implemented.

    Arguments
    ---------
    n_mels : int
        Number of mel bands.
    momentum : float
        Weight of the newest batch in the running statistics (PyTorch's default).
    eps : float
        Added to the variance (PyTorch's default).

    Example
    -------
    >>> norm = MelBatchNorm(n_mels=4)
    >>> norm(torch.randn(3, 10, 4) * 7 - 30).std().round().item()
    1.0
    """

    def __init__(self, n_mels: int, momentum: float = 0.1, eps: float = 1e-5):
        super().__init__()
        self.momentum = momentum
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(n_mels))
        self.bias = nn.Parameter(torch.zeros(n_mels))
        self.register_buffer("running_mean", torch.zeros(n_mels))
        self.register_buffer("running_var", torch.ones(n_mels))

    def forward(self, mel: Tensor) -> Tensor:
        """Normalise [batch, frame, mel], in float32."""
        if not self.training or not distributed():
            return F.batch_norm(
                mel.transpose(1, 2),
                *(self.running_mean, self.running_var, self.weight, self.bias),
                *(self.training, self.momentum, self.eps),
            ).transpose(1, 2)
        mean, var, n = batch_statistics(mel)
        with torch.no_grad():
            unbiased = var * (n / (n - 1).clamp(min=1))
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
        scale = self.weight * torch.rsqrt(var + self.eps)
        return (mel - mean) * scale + self.bias


def distributed() -> bool:
    """Return True if this process is one of several."""
    return dist.is_available() and dist.is_initialized()


def batch_statistics(mel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean [mel], biased variance [mel] and count [1] over all processes."""
    var, mean = torch.var_mean(mel, dim=(0, 1), correction=0)
    n = mel.new_full((1,), mel.shape[0] * mel.shape[1])
    # float64, because the mean of squares minus the squared mean cancels.
    n_here, mean_here, var_here = n.double(), mean.double(), var.double()
    square_here = var_here + mean_here.square()
    sums = torch.cat([n_here, n_here * mean_here, n_here * square_here])
    sums = all_reduce(sums)  # differentiable, as gradients cross processes too
    n, mean, square = sums.split([1, len(mean), len(mean)])
    mean, square = mean / n, square / n
    return mean.float(), (square - mean.square()).float(), n.float()
