"""CLAP: clips and texts in, their embeddings in one space out.

Elizalde, Deshmukh, Al Ismail, Wang: *CLAP: Learning Audio Concepts from Natural
Language Supervision*, ICASSP 2023 (arXiv 2206.04769), section 2. The loss is CLIP's
(Radford et al., ICML 2021).
"""

import math

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F

from pengi_plugin.lobes.trained_parts import TrainedParts

#: Similarities are multiplied by no more than this, as in CLIP: above it, training
#: becomes unstable.
MAX_SCALE = 100.0


class Temperature(nn.Module):
    """The learned factor of the similarities, 1 / temperature.

    Its logarithm is the parameter, as in CLIP.

    Arguments
    ---------
    initial : float
        Temperature at the beginning (0.07 in the papers of CLIP and CLAP).

    Example
    -------
    >>> round(Temperature(0.07)().item(), 2)
    14.29
    """

    def __init__(self, initial: float = 0.07):
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / initial)))

    def forward(self) -> Tensor:
        """Return the factor, a scalar of at most ``MAX_SCALE``."""
        return self.logit_scale.exp().clamp(max=MAX_SCALE)


class Clap(TrainedParts):
    """Compose the parts of CLAP.

    Arguments
    ---------
    audio_encoder : torch.nn.Module
        (wavs [batch, sample], wav_lens [batch]) -> [batch, d_audio].
    audio_projection : torch.nn.Module
        [batch, d_audio] -> [batch, d_embedding].
    text_encoder : PromptEncoder
        list of str -> [batch, d_text]; trained or frozen.
    text_projection : torch.nn.Module
        [batch, d_text] -> [batch, d_embedding].
    temperature : Temperature
        Gives the factor of the similarities.

    Example
    -------
    >>> class FourMeans(nn.Module):
    ...     def forward(self, wavs, wav_lens):
    ...         return wavs.unflatten(1, (4, -1)).mean(-1)
    >>> class Length(nn.Module):
    ...     is_frozen = True
    ...     def forward(self, texts):
    ...         return torch.tensor([[float(len(text))] * 4 for text in texts])
    >>> clap = Clap(FourMeans(), nn.Linear(4, 6), Length(), nn.Linear(4, 6),
    ...     Temperature())
    >>> audio, text, scale = clap(torch.randn(2, 80), torch.ones(2), ["dog", "rain"])
    >>> audio.shape, text.shape
    (torch.Size([2, 6]), torch.Size([2, 6]))
    """

    def __init__(
        self,
        audio_encoder: nn.Module,
        audio_projection: nn.Module,
        text_encoder: nn.Module,
        text_projection: nn.Module,
        temperature: nn.Module,
    ):
        super().__init__()
        self.audio_encoder = audio_encoder
        self.audio_projection = audio_projection
        self.text_encoder = text_encoder
        self.text_projection = text_projection
        self.temperature = temperature
        if text_encoder.is_frozen:
            self.frozen_parts = ("text_encoder",)

    def encode_audio(self, wavs: Tensor, wav_lens: Tensor) -> Tensor:
        """Embed clips with unit L2 norm: [batch, sample] -> [batch, d_embedding]."""
        embedding = self.audio_projection(self.audio_encoder(wavs, wav_lens))
        return F.normalize(embedding.float(), dim=-1)

    def encode_text(self, texts: list[str]) -> Tensor:
        """Embed texts with unit L2 norm: list of str -> [batch, d_embedding]."""
        embedding = self.text_projection(self.text_encoder(texts))
        return F.normalize(embedding.float(), dim=-1)

    def forward(
        self, wavs: Tensor, wav_lens: Tensor, texts: list[str]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what ``contrastive_losses`` takes.

        Arguments
        ---------
        wavs : torch.Tensor
            Mono clips [batch, sample].
        wav_lens : torch.Tensor
            Relative lengths [batch].
        texts : list of str
            One per clip.

        Returns
        -------
        audio, text : torch.Tensor
            Embeddings of unit norm [batch, d_embedding].
        scale : torch.Tensor
            Factor of their similarities, a scalar.
        """
        audio = self.encode_audio(wavs, wav_lens)
        return audio, self.encode_text(texts), self.temperature()


def contrastive_losses(
    audio: Tensor, text: Tensor, scale: Tensor, over_processes: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of finding each clip's text, and each text's clip.

    The loss of a batch is the mean of both. Over several processes each one's rows
    are compared with the embeddings of all. The mean of the processes' losses and,
    after DistributedDataParallel has averaged them, the gradients are those of one
    process with the whole batch.

    A text that stands twice in a batch does no harm: its two clips share the
    probability, and the gradients are those of one text that fits both.

    Arguments
    ---------
    audio, text : torch.Tensor
        Embeddings of unit norm, row n of one belongs to row n of the other
        [batch, d_embedding].
    scale : torch.Tensor
        Factor of the similarities, a scalar.
    over_processes : bool
        Whether to compare with all processes' embeddings, which must be as many on
        each.

    Returns
    -------
    audio_to_text, text_to_audio : torch.Tensor
        In nats, one for each row [batch].

    Example
    -------
    >>> same = torch.eye(3)
    >>> losses = contrastive_losses(same, same, torch.tensor(100.0))
    >>> [round(loss.sum().item(), 3) for loss in losses]
    [0.0, 0.0]
    """
    all_audio, all_text, first = audio, text, 0
    if over_processes:
        both = gather_with_gradient(torch.stack([audio, text], dim=1))
        all_audio, all_text = both.unbind(1)
        first = dist.get_rank() * len(audio)
    target = torch.arange(first, first + len(audio), device=audio.device)
    with torch.autocast(audio.device.type, enabled=False):  # bf16 has 3 digits
        return (
            F.cross_entropy(scale * audio @ all_text.T, target, reduction="none"),
            F.cross_entropy(scale * text @ all_audio.T, target, reduction="none"),
        )


class _Gather(torch.autograd.Function):
    """Concatenate the rows of all processes; sum their gradients in backward."""

    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]


def gather_with_gradient(rows: Tensor) -> Tensor:
    """Return the rows of all processes, in their order, with gradient.

    Arguments
    ---------
    rows : torch.Tensor
        Of this process, as many as on the others [row, ...].

    Returns
    -------
    rows : torch.Tensor
        [process * row, ...]
    """
    return _Gather.apply(rows)
