"""A mapper that hears order: embeddings over time in, a prefix in the same order out.

Pengi (Deshmukh et al., NeurIPS 2023) pools a clip into one vector, which forgets what
came first. Here the prefix is made from the encoder's map (``over_time: True`` of
``HTSAT`` or ``ConvNet``, and of ``AudioEncoder``), each vector of it from one stretch
of the clip.
"""

import math

import torch
from torch import Tensor, nn

from pengi_plugin.lobes.mapping import Block


class TimePrefixMapper(nn.Module):
    """Turn embeddings over time into a prefix of fixed length, in order of time.

    The clip is divided into ``n_prefix`` equal stretches. Transformer layers, which
    know each embedding's time, mix all of them; each stretch's mean then becomes one
    vector of the prefix, by a network that all stretches share. There may be any
    number of embeddings: more than in training (several windows of a long recording,
    one behind the other) make the stretches longer.

    Arguments
    ---------
    d_embedding : int
        Width of the incoming embeddings.
    d_model : int
        Width of the LM.
    n_prefix : int
        Length k of the prefix: number of stretches.
    n_layer : int
        Number of transformer layers.
    n_head : int
        Number of attention heads.
    d_hidden : int
        Hidden width of the network that makes the prefix's vectors.

    Example
    -------
    >>> mapper = TimePrefixMapper(d_embedding=8, d_model=6, n_prefix=4, n_head=2)
    >>> mapper(torch.randn(3, 8, 8)).shape, mapper(torch.randn(3, 50, 8)).shape
    (torch.Size([3, 4, 6]), torch.Size([3, 4, 6]))
    """

    def __init__(
        self,
        d_embedding: int,
        d_model: int,
        n_prefix: int,
        n_layer: int = 1,
        n_head: int = 8,
        d_hidden: int = 512,
    ):
        super().__init__()
        if d_embedding % 2:
            raise ValueError(f"d_embedding must be even; got {d_embedding}.")
        self.d_model = d_model
        self.n_prefix = n_prefix
        self.layers = nn.ModuleList(Block(d_embedding, n_head) for _ in range(n_layer))
        self.stretch = nn.Parameter(torch.randn(n_prefix, d_embedding))
        self.norm = nn.LayerNorm(d_embedding)
        self.mlp = nn.Sequential(
            nn.Linear(d_embedding, d_hidden), nn.Tanh(), nn.Linear(d_hidden, d_model)
        )

    def forward(self, sequence: Tensor) -> Tensor:
        """Map [batch, time, d_embedding] to [batch, n_prefix, d_model].

        Arguments
        ---------
        sequence : torch.Tensor
            Embeddings of unit length, in order of time, at equal distances.
        """
        if sequence.dim() != 3:
            raise ValueError(
                "A mapper of sequences reads [batch, time, d_embedding]; got shape "
                f"{list(sequence.shape)}. Set over_time: True for the encoder and the "
                "AudioEncoder."
            )
        n_time, width = sequence.shape[1:]
        # From unit length to unit values, as positions and constants have.
        x = sequence * width**0.5 + positions(n_time, width).to(sequence)
        for layer in self.layers:
            x = layer(x)
        x = stretches(n_time, self.n_prefix).to(x) @ x
        return self.mlp(self.norm(x) + self.stretch)


def positions(n_time: int, width: int) -> Tensor:
    """Return sinusoids that tell times from 0 to 1 apart, [time, width].

    Of the clip's length relative times are known, not seconds: what comes first comes
    first in long clips too. Periods go from 4 clips to 1/16 of a clip.
    """
    time = (torch.arange(n_time) + 0.5) / n_time
    frequency = 2 ** torch.linspace(-2, 4, width // 2)
    angle = 2 * math.pi * time[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def stretches(n_time: int, n_stretch: int) -> Tensor:
    """Return weights that average times over equal stretches, [stretch, time].

    A time that two stretches share counts in each by what lies in it.

    Example
    -------
    >>> stretches(3, 2)
    tensor([[0.6667, 0.3333, 0.0000],
            [0.0000, 0.3333, 0.6667]])
    """
    edges = torch.arange(n_stretch + 1) * (n_time / n_stretch)
    time = torch.arange(n_time)
    starts = torch.maximum(edges[:-1, None], time)
    ends = torch.minimum(edges[1:, None], time + 1)
    return (ends - starts).clamp(min=0) * (n_stretch / n_time)
