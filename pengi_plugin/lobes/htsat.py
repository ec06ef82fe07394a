"""Log-mel spectrograms in, one audio vector per clip out: HTSAT, trainable.

Chen, Du, Zhu, Ma, Berg-Kirkpatrick, Dubnov: *HTS-AT: A Hierarchical Token-Semantic
Audio Transformer*, ICASSP 2022 (arXiv 2202.00874), on Liu et al.: *Swin
Transformer*, ICCV 2021 (arXiv 2103.14030). Only what CLAP and Pengi use: no class
heads. Names of parameters are those of the released checkpoints
(``audio_encoder.base.htsat.*``), so that their weights load without renaming.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pengi_plugin.lobes.features import MelBatchNorm


class WindowAttention(nn.Module):
    """Self-attention inside windows of [batch, height, width, dim] tokens.

    Every other block shifts the windows by half of their side; tokens that only
    the wrap-around brought together do not see each other.

    Arguments
    ---------
    dim : int
        Width of a token.
    n_head : int
        Number of attention heads.
    grid : tuple of int
        Height and width of the map of tokens.
    window : int
        Side of a window, in tokens.
    shift : int
        By how many tokens windows are shifted.
    """

    def __init__(
        self, dim: int, n_head: int, grid: tuple[int, int], window: int, shift: int
    ):
        super().__init__()
        if dim % n_head:
            raise ValueError(
                f"heads must divide the width of their stage; got heads={n_head}, "
                f"width={dim}."
            )
        self.n_head, self.window, self.shift = n_head, window, shift
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(
            nn.init.trunc_normal_(torch.empty((2 * window - 1) ** 2, n_head), std=0.02)
        )
        index = relative_position_index(window)
        self.register_buffer("relative_position_index", index, persistent=False)
        mask = shift_mask(grid, window, shift) if shift else None
        self.register_buffer("attn_mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, height, width, dim] to the same shape."""
        if self.shift:
            x = x.roll((-self.shift, -self.shift), dims=(1, 2))
        batch, height, width, dim = x.shape
        side = self.window
        rows, columns = height // side, width // side
        qkv = self.qkv(x).view(
            batch, rows, side, columns, side, 3, self.n_head, dim // self.n_head
        )
        # -> [3, batch, row, column, head, token row, token column, width of a head]
        qkv = qkv.permute(5, 0, 1, 3, 6, 2, 4, 7)
        bias = self.bias()
        q, k, v = qkv.reshape(3, -1, bias.shape[1], side * side, dim // self.n_head)
        x = attend(q, k, v, bias)
        x = x.view(batch, rows, columns, self.n_head, side, side, -1)
        x = x.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, height, width, dim)
        x = self.proj(x)
        if self.shift:
            x = x.roll((self.shift, self.shift), dims=(1, 2))
        return x

    def bias(self) -> Tensor:
        """Return what is added to the scores, [1, head, token, token].

        Shifted windows differ in their masks: [1, window * head, token, token].
        """
        bias = self.relative_position_bias_table[self.relative_position_index]
        bias = bias.permute(2, 0, 1)
        if self.attn_mask is None:
            return bias[None]
        return (bias + self.attn_mask[:, None]).flatten(0, 1)[None]


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Return softmax(q k / sqrt(width) + bias) v, [batch, head, token, width].

    On a CPU, plain products are faster than torch's fused attention when windows
    are small, by a twentieth (float32) to a fifth (bfloat16) of a training step.
    """
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    return scores.add_(bias).softmax(dim=-1) @ v


def relative_position_index(window: int) -> Tensor:
    """Return the row of the bias table for each pair of tokens, [token, token]."""
    row = torch.arange(window).repeat_interleave(window)
    column = torch.arange(window).repeat(window)
    down = row[:, None] - row[None, :] + window - 1
    right = column[:, None] - column[None, :] + window - 1
    return down * (2 * window - 1) + right


def shift_mask(grid: tuple[int, int], window: int, shift: int) -> Tensor:
    """Return 0 for pairs that may see each other, else -100, [window, token, token]."""
    wrapped = [torch.arange(size) >= size - shift for size in grid]
    region = 2 * wrapped[0].int()[:, None] + wrapped[1].int()[None, :]
    region = region.view(grid[0] // window, window, grid[1] // window, window)
    region = region.transpose(1, 2).reshape(-1, window * window)
    return (region[:, :, None] != region[:, None, :]) * -100.0


class FeedForward(nn.Module):
    """Map each token of width ``dim`` through a hidden layer with GELU."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., dim] to [..., dim]."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """One pre-norm transformer block on [batch, height, width, dim]."""

    def __init__(self, dim: int, mlp_ratio: float, drop_path: float, **attention):
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, **attention)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, height, width, dim] to the same shape."""
        x = x + self._drop_path(self.attn(self.norm1(x)))
        return x + self._drop_path(self.mlp(self.norm2(x)))

    def _drop_path(self, branch: Tensor) -> Tensor:
        """Drop the branch of a random part of the clips; keep its expected value."""
        if not self.training or self.drop_path == 0:
            return branch
        keep = 1 - self.drop_path
        kept = torch.rand(len(branch), 1, 1, 1, device=branch.device) < keep
        return branch * (kept / keep).to(branch.dtype)


class PatchMerging(nn.Module):
    """Halve height and width, double the width of a token."""

    def __init__(self, dim: int):
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, height, width, dim] to [batch, height/2, width/2, 2 * dim]."""
        batch, height, width, dim = x.shape
        x = x.view(batch, height // 2, 2, width // 2, 2, dim)
        x = x.permute(0, 1, 3, 4, 2, 5).flatten(3)  # the column before the row
        return self.reduction(self.norm(x))


class PatchEmbedding(nn.Module):
    """Cut an image into square patches and embed each."""

    def __init__(self, dim: int, patch_size: int):
        super().__init__()
        self.proj = nn.Conv2d(1, dim, kernel_size=patch_size, stride=patch_size)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: Tensor) -> Tensor:
        """Map [batch, pixel row, pixel column] to [batch, row, column, dim]."""
        return self.norm(self.proj(image.unsqueeze(1)).permute(0, 2, 3, 1))


class ConvStem(nn.Module):
    """Embed each patch with what is around it: convolutions that shrink the image.

    In place of ``PatchEmbedding``, for encoders that start from scratch: Xiao, Singh,
    Mintun, Darrell, Dollár and Girshick, *Early Convolutions Help Transformers See
    Better*, NeurIPS 2021. Theirs are 3 x 3 and all halve the image; here the first is
    6 x 6 and divides it by 4, as the largest maps of few channels cost a CPU most.
    Batch norm is over the whole batch of all processes.
    """

    def __init__(self, dim: int, patch_size: int):
        super().__init__()
        n_conv = patch_size.bit_length() - 2  # the first divides by 4, others by 2
        if patch_size < 4 or patch_size != 2 ** (n_conv + 1) or dim % 2 ** (n_conv - 1):
            raise ValueError(
                "conv_stem needs a patch_size that is a power of 2, 4 or more, and "
                f"divides 4 * dim; got patch_size={patch_size}, dim={dim}."
            )
        widths = [dim // 2**i for i in reversed(range(n_conv))]
        self.convs = nn.ModuleList(
            [nn.Conv2d(1, widths[0], 6, stride=4, padding=1, bias=False)]
        )
        self.convs.extend(
            nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
            for before, after in pairwise(widths)
        )
        self.batch_norms = nn.ModuleList(MelBatchNorm(width) for width in widths)
        self.proj = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: Tensor) -> Tensor:
        """Map [batch, pixel row, pixel column] to [batch, row, column, dim]."""
        x = image.unsqueeze(1).contiguous(memory_format=torch.channels_last)
        for conv, norm in zip(self.convs, self.batch_norms, strict=True):
            x = conv(x).permute(0, 2, 3, 1)
            shape = x.shape  # [batch, row, column, channel]
            x = F.gelu(norm(x.flatten(1, 2).float())).view(shape).permute(0, 3, 1, 2)
        return self.norm(self.proj(x.permute(0, 2, 3, 1)))


class Stage(nn.Module):
    """Blocks on one grid of tokens, then perhaps a patch merging."""

    def __init__(self, blocks: list[Block], downsample: PatchMerging | None):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, height, width, dim] to the next stage's tokens."""
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class HTSAT(nn.Module):
    """Encode log-mel spectrograms [batch, frame, mel] as [batch, d_audio].

    A spectrogram is normalised per mel band, stretched in time to ``n_frames``
    (bicubic), cut in time into ``spec_size // n_mels`` pieces that are stacked to a
    square image, and encoded by a Swin transformer; the output is the mean over its
    last tokens, or ``over_time`` the tokens in order of time. The defaults are the
    released Pengi's and CLAP's.

    Arguments
    ---------
    n_mels : int
        Mel bands of the input.
    spec_size : int
        Side of the image in pixels, a multiple of ``n_mels``. An input may have up
        to ``spec_size**2 / n_mels`` frames.
    patch_size : int
        Side of a patch in pixels.
    dim : int
        Width of a token in the first stage; it doubles from stage to stage.
    depths : sequence of int
        Number of blocks of each stage.
    heads : sequence of int
        Number of attention heads of each stage.
    window : int
        Side of an attention window in tokens; a stage with a smaller map of tokens
        has one window.
    mlp_ratio : float
        Hidden width of the feed-forward layers, in widths of a token.
    drop_path : float
        Probability of skipping a branch of the last block for a clip in training; it
        grows linearly from 0 in the first block.
    absolute_position : bool
        Whether each position in the map of patches has a learned vector of its own.
        CLAP has none. A small encoder that starts from scratch may learn sooner
        with it which sounds are high and which are low.
    conv_stem : bool
        Whether patches are embedded by overlapping convolutions, see ``ConvStem``,
        not one by one. CLAP's are not. From scratch, a small encoder learns sooner.
    over_time : bool
        Whether to return the last tokens in order of time, [batch, time, d_audio],
        averaged over frequency only.

    Example
    -------
    >>> encoder = HTSAT(
    ...     n_mels=16, spec_size=32, dim=8, depths=[2, 1], heads=[2, 4], window=4
    ... )
    >>> encoder(torch.randn(3, 60, 16)).shape
    torch.Size([3, 16])
    """

    def __init__(
        self,
        n_mels: int = 64,
        spec_size: int = 256,
        patch_size: int = 4,
        dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (4, 8, 16, 32),
        window: int = 8,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.1,
        absolute_position: bool = False,
        conv_stem: bool = False,
        over_time: bool = False,
    ):
        super().__init__()
        check_sizes(n_mels, spec_size, patch_size, depths, heads, window)
        check_pieces(n_mels, patch_size * 2 ** (len(depths) - 1), over_time)
        self.over_time = over_time
        self.n_mels = n_mels
        self.n_pieces = spec_size // n_mels
        self.n_frames = spec_size * self.n_pieces
        self.d_audio = dim * 2 ** (len(depths) - 1)
        self.bn0 = MelBatchNorm(n_mels)
        embed = ConvStem if conv_stem else PatchEmbedding
        self.patch_embed = embed(dim, patch_size)
        self.absolute_pos_embed = None
        if absolute_position:
            side = spec_size // patch_size
            positions = nn.init.trunc_normal_(torch.empty(side, side, dim), std=0.02)
            self.absolute_pos_embed = nn.Parameter(positions)
        rates = torch.linspace(0, drop_path, sum(depths)).split(list(depths))
        self.layers = nn.ModuleList()
        for i, (n_head, stage_rates) in enumerate(zip(heads, rates)):
            side = spec_size // patch_size // 2**i
            width = dim * 2**i
            blocks = [
                Block(
                    width,
                    mlp_ratio,
                    rate,
                    n_head=n_head,
                    grid=(side, side),
                    window=min(window, side),
                    shift=window // 2 if j % 2 and side > window else 0,
                )
                for j, rate in enumerate(stage_rates.tolist())
            ]
            last = i == len(depths) - 1
            self.layers.append(Stage(blocks, None if last else PatchMerging(width)))
        self.norm = nn.LayerNorm(self.d_audio)
        self.apply(init_weights)

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
            the last map of tokens and piece, [batch, time, d_audio].
        """
        if (
            mel.dim() != 3
            or mel.shape[2] != self.n_mels
            or mel.shape[1] > self.n_frames
        ):
            raise ValueError(
                f"A spectrogram must be [batch, frame, mel] with {self.n_mels} mel "
                f"bands and at most {self.n_frames} frames; got shape "
                f"{list(mel.shape)}. Crop the clips, or change n_mels, spec_size or "
                "the features' hop_length."
            )
        x = self.patch_embed(self.to_image(self.bn0(mel.float())))
        if self.absolute_pos_embed is not None:
            x = x + self.absolute_pos_embed
        for stage in self.layers:
            x = stage(x)
        x = self.norm(x)
        return self.to_time(x) if self.over_time else x.mean(dim=(1, 2))

    def to_time(self, tokens: Tensor) -> Tensor:
        """Undo what ``to_image`` does: [batch, row, column, d] to [batch, time, d].

        The rows of a piece are its frequencies, which are averaged.
        """
        pieces = tokens.unflatten(1, (self.n_pieces, -1))
        return pieces.mean(dim=2).flatten(1, 2)

    def to_image(self, mel: Tensor) -> Tensor:
        """Map [batch, frame, mel] to [batch, pixel row, pixel column]."""
        if mel.shape[1] < self.n_frames:
            mel = F.interpolate(
                mel.unsqueeze(1),
                (self.n_frames, self.n_mels),
                mode="bicubic",
                align_corners=True,
            ).squeeze(1)
        pieces = mel.unflatten(1, (self.n_pieces, -1))  # [batch, piece, frame, mel]
        return pieces.transpose(2, 3).flatten(1, 2)


def init_weights(module: nn.Module) -> None:
    """Start linears as truncated normals that keep the variance, no bias.

    Swin's fixed 0.02 suits wide layers and long training: here, a small encoder's
    loss fell about half as far in its first 250 updates with it.
    """
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=module.in_features**-0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def check_pieces(n_mels: int, unit: int, over_time: bool) -> None:
    """Raise ValueError if last tokens of ``unit`` pixels lie in two pieces at once."""
    if over_time and n_mels % unit:
        raise ValueError(
            "over_time needs last tokens that lie in one piece of the image: n_mels "
            "must be a multiple of patch_size times 2 for each stage after the first "
            f"(here {unit}); got n_mels={n_mels}."
        )


def check_sizes(n_mels, spec_size, patch_size, depths, heads, window) -> None:
    """Raise ValueError, with the values, unless the sizes fit each other."""
    if len(depths) != len(heads):
        raise ValueError(
            "depths and heads must have one entry per stage; got "
            f"depths={list(depths)}, heads={list(heads)}."
        )
    if spec_size % n_mels:
        raise ValueError(
            f"n_mels must divide spec_size; got n_mels={n_mels}, spec_size={spec_size}."
        )
    unit = patch_size * 2 ** (len(depths) - 1)
    if spec_size % unit:
        raise ValueError(
            "spec_size must be a multiple of patch_size times 2 for each stage after "
            f"the first (here {unit}); got spec_size={spec_size}, "
            f"patch_size={patch_size}, {len(depths)} stages."
        )
    for i in range(len(depths)):
        side = spec_size // patch_size // 2**i
        if side > window and side % window:
            raise ValueError(
                f"window must divide the side of each stage's map of tokens; got "
                f"window={window}, side={side} in stage {i}."
            )
