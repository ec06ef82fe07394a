"""A small convolutional encoder: log-mel spectrograms in, one vector per clip out.

For encoders that start from scratch and train for minutes. On the clips of the
embedded default, at the same time per update, its word loss after 400 updates was that
of a small HTSAT with a convolutional stem after about 700.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pengi_plugin.lobes.features import MelBatchNorm

#: Frames and bands that the first convolution turns into one position, and positions
#: of a stage that become one of the next.
FIRST_STRIDE, STRIDE = 4, 2


class NormalisedConv(nn.Module):
    """A convolution without bias, and batch norm over the batch of all processes.

    Arguments
    ---------
    n_in, n_out : int
        Channels.
    kernel_size, stride : int
        Of the convolution; ``stride`` positions become one.

    Example
    -------
    >>> NormalisedConv(2, 6, kernel_size=3, stride=2)(torch.randn(1, 2, 8, 4)).shape
    torch.Size([1, 6, 4, 2])
    """

    def __init__(self, n_in: int, n_out: int, kernel_size: int, stride: int):
        super().__init__()
        padding = (kernel_size - stride + 1) // 2
        self.conv = nn.Conv2d(
            n_in, n_out, kernel_size, stride=stride, padding=padding, bias=False
        )
        self.norm = MelBatchNorm(n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, n_in, frame, band] to [batch, n_out, frame', band']."""
        x = self.conv(x).permute(0, 2, 3, 1)
        shape = x.shape  # [batch, frame, band, channel]
        return self.norm(x.flatten(1, 2).float()).view(shape).permute(0, 3, 1, 2)


class Residual(nn.Module):
    """GELU of the sum of the input and a 3 x 3 convolution of it."""

    def __init__(self, n_channel: int):
        super().__init__()
        self.conv = NormalisedConv(n_channel, n_channel, kernel_size=3, stride=1)
        nn.init.zeros_(self.conv.norm.weight)  # begins as the identity before GELU

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, n_channel, frame, band] to the same shape."""
        return F.gelu(x + self.conv(x))


class ConvNet(nn.Module):
    """Encode log-mel spectrograms [batch, frame, mel] as [batch, d_audio].

    The first convolution turns 4 x 4 frames and bands into one position; each further
    stage halves the map and has residual convolutions on it (He et al., *Deep Residual
    Learning for Image Recognition*, CVPR 2016). The output is the mean of the last map
    over time, each of its bands with channels of its own, or ``over_time`` the map
    itself in order of time.

    Arguments
    ---------
    n_mels : int
        Mel bands of the input, a multiple of 4 and 2 for each stage after the first.
    widths : sequence of int
        Channels of each stage. ``d_audio`` is the last times the bands of the last map.
    depths : sequence of int
        Residual convolutions of each stage.
    over_time : bool
        Whether to return the last map in order of time, [batch, time, d_audio].

    Example
    -------
    >>> encoder = ConvNet(n_mels=16, widths=[4, 8], depths=[0, 1])
    >>> encoder(torch.randn(3, 60, 16)).shape
    torch.Size([3, 16])
    """

    def __init__(
        self,
        n_mels: int = 64,
        widths: Sequence[int] = (32, 64, 128, 256),
        depths: Sequence[int] = (0, 1, 1, 1),
        over_time: bool = False,
    ):
        super().__init__()
        if len(widths) != len(depths):
            raise ValueError(
                "widths and depths must have one entry per stage; got "
                f"widths={list(widths)}, depths={list(depths)}."
            )
        #: Frames, or bands, that become one position of the last map.
        self.unit = FIRST_STRIDE * STRIDE ** (len(widths) - 1)
        if n_mels % self.unit:
            raise ValueError(
                f"n_mels must be a multiple of 4, and of 2 for each stage after the "
                f"first (here {self.unit}); got n_mels={n_mels}."
            )
        self.n_mels = n_mels
        self.over_time = over_time
        self.d_audio = widths[-1] * (n_mels // self.unit)
        self.bn0 = MelBatchNorm(n_mels)
        downs = [NormalisedConv(1, widths[0], kernel_size=6, stride=FIRST_STRIDE)]
        downs += [
            NormalisedConv(before, after, kernel_size=3, stride=STRIDE)
            for before, after in pairwise(widths)
        ]
        self.downs = nn.ModuleList(downs)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(Residual(width) for _ in range(depth)))
            for width, depth in zip(widths, depths)
        )

    def forward(self, mel: Tensor) -> Tensor:
        """Map [batch, frame, mel] in dB to [batch, d_audio].

        Arguments
        ---------
        mel : torch.Tensor
            Log-mel spectrograms, [batch, frame, mel]. There are no lengths: repeat
            short clips to the common length instead of padding them.

        Returns
        -------
        torch.Tensor
            One vector per clip, [batch, d_audio]; with ``over_time`` one per column of
            the last map, [batch, time, d_audio].

        Raises
        ------
        ValueError
            If the spectrogram has another number of bands, or too few frames.
        """
        if mel.dim() != 3 or mel.shape[2] != self.n_mels or mel.shape[1] < FIRST_STRIDE:
            raise ValueError(
                f"A spectrogram must be [batch, frame, mel] with {self.n_mels} mel "
                f"bands and {FIRST_STRIDE} frames or more; got shape "
                f"{list(mel.shape)}."
            )
        x = self.bn0(mel.float()).unsqueeze(1)
        x = x.contiguous(memory_format=torch.channels_last)
        for down, blocks in zip(self.downs, self.blocks):
            x = blocks(F.gelu(down(x)))
        x = x.transpose(1, 2).flatten(2)  # [batch, time, channel and band]
        return x if self.over_time else x.mean(dim=1)
