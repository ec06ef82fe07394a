"""Mapping networks: an audio or prompt embedding in, prefix embeddings out.

Pengi (Deshmukh et al., NeurIPS 2023, section 3.1) calls them m1 and m2. Both
turn one embedding into k vectors of the language model's width and are
trained together with the audio encoder. Every mapper in this file has the
attributes ``n_prefix`` and ``d_model``.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Bidirectional self-attention: queries, keys and values without bias.

    Arguments
    ---------
    d_model : int
        Width of a token.
    n_head : int
        Number of heads; divides ``d_model``.

    Example
    -------
    >>> Attention(d_model=8, n_head=2)(torch.randn(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(self, d_model: int, n_head: int):
        super().__init__()
        if d_model % n_head:
            raise ValueError(
                f"n_head must divide d_model; got n_head={n_head}, d_model={d_model}."
            )
        self.n_head = n_head
        self.query = nn.Linear(d_model, d_model, bias=False)
        self.key_value = nn.Linear(d_model, 2 * d_model, bias=False)
        self.output = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over [batch, token, d_model]; returns the same shape."""
        query = self.query(x)
        key, value = self.key_value(x).chunk(2, dim=-1)
        query, key, value = (
            part.unflatten(-1, (self.n_head, -1)).transpose(1, 2)
            for part in (query, key, value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.output(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """One pre-norm transformer layer with a ReLU feed-forward network.

    Arguments
    ---------
    d_model : int
        Width of a token.
    n_head : int
        Number of attention heads.
    mlp_ratio : float
        Hidden width of the feed-forward network, relative to ``d_model``.

    Example
    -------
    >>> Block(d_model=8, n_head=2)(torch.randn(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(self, d_model: int, n_head: int, mlp_ratio: float = 2.0):
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model)
        self.attention = Attention(d_model, n_head)
        self.norm2 = nn.LayerNorm(d_model)
        d_hidden = int(d_model * mlp_ratio)
        self.mlp = nn.Sequential(
            nn.Linear(d_model, d_hidden), nn.ReLU(), nn.Linear(d_hidden, d_model)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform [batch, token, d_model]; returns the same shape."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class SequencePrefixMapper(nn.Module):
    """Turn a sequence of embeddings into a prefix that the LM can read.

    Learned constants are appended to the sequence; the transformer's outputs at
    their positions are the prefix. Pengi without a text encoder maps the LM's own
    embeddings of the prompt this way.

    Arguments
    ---------
    d_model : int
        Width of the incoming embeddings and of the LM.
    n_prefix : int
        Length k of the prefix.
    n_layer : int
        Number of transformer layers (4 in the released model).
    n_head : int
        Number of attention heads.
    mlp_ratio : float
        Hidden width of the feed-forward networks, relative to ``d_model``.

    Example
    -------
    >>> mapper = SequencePrefixMapper(d_model=8, n_prefix=4, n_head=2)
    >>> mapper(torch.randn(3, 5, 8)).shape
    torch.Size([3, 4, 8])
    """

    def __init__(
        self,
        d_model: int,
        n_prefix: int,
        n_layer: int = 4,
        n_head: int = 8,
        mlp_ratio: float = 2.0,
    ):
        super().__init__()
        self.d_model = d_model
        self.n_prefix = n_prefix
        # Norm about 1, of the order of a token embedding's: beside a larger prefix,
        # what the LM's layers add would count for little.
        self.prefix_const = nn.Parameter(torch.randn(n_prefix, d_model) / d_model**0.5)
        self.layers = nn.ModuleList(
            Block(d_model, n_head, mlp_ratio) for _ in range(n_layer)
        )

    def forward(self, sequence: Tensor) -> Tensor:
        """Map [batch, token, d_model] to [batch, n_prefix, d_model]."""
        constants = self.prefix_const.to(sequence.dtype)
        constants = constants.expand(sequence.shape[0], -1, -1)
        x = torch.cat([sequence, constants], dim=1)
        for layer in self.layers:
            x = layer(x)
        return x[:, -self.n_prefix :]


class PrefixMapper(nn.Module):
    """Turn one pooled embedding into a prefix that the LM can read.

    A linear layer unfolds the embedding into k tokens, which a
    ``SequencePrefixMapper`` turns into the prefix.

    Arguments
    ---------
    d_embedding : int
        Width of the incoming embedding.
    d_model : int
        Width of the LM.
    n_prefix : int
        Length k of the prefix (40 in the released model).
    n_layer : int
        Number of transformer layers (4 in the released model).
    n_head : int
        Number of attention heads.
    mlp_ratio : float
        Hidden width of the feed-forward networks, relative to ``d_model``.

    Example
    -------
    >>> mapper = PrefixMapper(d_embedding=6, d_model=8, n_prefix=4, n_head=2)
    >>> mapper(torch.randn(3, 6)).shape
    torch.Size([3, 4, 8])
    """

    def __init__(
        self,
        d_embedding: int,
        d_model: int,
        n_prefix: int,
        n_layer: int = 4,
        n_head: int = 8,
        mlp_ratio: float = 2.0,
    ):
        super().__init__()
        self.d_model = d_model
        self.n_prefix = n_prefix
        self.linear = nn.Linear(d_embedding, n_prefix * d_model)
        self.transformer = SequencePrefixMapper(
            d_model, n_prefix, n_layer, n_head, mlp_ratio
        )

    def forward(self, embedding: Tensor) -> Tensor:
        """Map [batch, d_embedding] to [batch, n_prefix, d_model]."""
        tokens = self.linear(embedding).unflatten(-1, (self.n_prefix, self.d_model))
        return self.transformer(tokens)


class MLPPrefixMapper(nn.Module):
    """Turn one pooled embedding into a prefix with two linear layers.

    The MLP of ClipCap (Mokady et al., 2021): linear, tanh, linear; the hidden width
    is half of ``n_prefix * d_model``.

    Arguments
    ---------
    d_embedding : int
        Width of the incoming embedding.
    d_model : int
        Width of the LM.
    n_prefix : int
        Length k of the prefix.

    Example
    -------
    >>> mapper = MLPPrefixMapper(d_embedding=6, d_model=8, n_prefix=4)
    >>> mapper(torch.randn(3, 6)).shape
    torch.Size([3, 4, 8])
    """

    def __init__(self, d_embedding: int, d_model: int, n_prefix: int):
        super().__init__()
        self.d_model = d_model
        self.n_prefix = n_prefix
        d_hidden = n_prefix * d_model // 2
        self.mlp = nn.Sequential(
            nn.Linear(d_embedding, d_hidden),
            nn.Tanh(),
            nn.Linear(d_hidden, n_prefix * d_model),
        )
        # Embeddings have norm 1, so weights of variance 1 give values of variance 1.
        nn.init.normal_(self.mlp[0].weight)

    def forward(self, embedding: Tensor) -> Tensor:
        """Map [batch, d_embedding] to [batch, n_prefix, d_model]."""
        return self.mlp(embedding).unflatten(-1, (self.n_prefix, self.d_model))
