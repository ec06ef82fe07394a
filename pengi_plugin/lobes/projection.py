"""An encoder's output in, an embedding of the joint audio-text space out."""

import torch.nn.functional as F
from torch import Tensor, nn


class ProjectionHead(nn.Module):
    """Project [batch, d_in] to [batch, d_embedding], as CLAP and Pengi do.

    ``e = linear1(x)``, then ``LayerNorm(e + dropout(linear2(gelu(e))))``; the
    linear layers have no biases.

    Arguments
    ---------
    d_in : int
        Width of the encoder's output.
    d_embedding : int
        Width of the joint embedding (1024 in the released models).
    dropout : float
        Dropout probability of the residual branch in training.

    Example
    -------
    >>> import torch
    >>> ProjectionHead(d_in=6, d_embedding=4)(torch.randn(3, 6)).shape
    torch.Size([3, 4])
    """

    def __init__(self, d_in: int, d_embedding: int, dropout: float = 0.5):
        super().__init__()
        self.d_embedding = d_embedding
        self.linear1 = nn.Linear(d_in, d_embedding, bias=False)
        self.linear2 = nn.Linear(d_embedding, d_embedding, bias=False)
        self.layer_norm = nn.LayerNorm(d_embedding)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, d_in] to [batch, d_embedding]."""
        e = self.linear1(x)
        return self.layer_norm(e + self.dropout(self.linear2(F.gelu(e))))


class MLPProjection(nn.Module):
    """Project [batch, d_in] to [batch, d_embedding], as LAION's CLAP does.

    ``linear2(relu(linear1(x)))``, both with biases (Wu et al., ICASSP 2023).

    Arguments
    ---------
    d_in : int
        Width of the encoder's output.
    d_embedding : int
        Width of the joint embedding (512 in the released models).

    Example
    -------
    >>> import torch
    >>> MLPProjection(d_in=6, d_embedding=4)(torch.randn(3, 6)).shape
    torch.Size([3, 4])
    """

    def __init__(self, d_in: int, d_embedding: int):
        super().__init__()
        self.d_embedding = d_embedding
        self.linear1 = nn.Linear(d_in, d_embedding)
        self.linear2 = nn.Linear(d_embedding, d_embedding)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, d_in] to [batch, d_embedding]."""
        return self.linear2(F.relu(self.linear1(x)))
