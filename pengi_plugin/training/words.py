"""A teacher of the audio encoder: an embedding in, the words said about its clip out.

Pengi starts from an audio encoder that CLAP trained to fit clips to texts. Where
there is none to start from, this head gives an encoder the like while Pengi trains.
It is no part of the model: only a training YAML has it.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class WordHead(nn.Module):
    """Tell which tokens are said about a clip.

    A linear layer and a softmax over all tokens; the loss is the cross-entropy to
    shares of the tokens that are said (Mahajan et al., *Exploring the Limits of
    Weakly Supervised Pretraining*, ECCV 2018, section 2.2). An answer's order and
    prompt play no role. Shares are equal until ``weigh`` is told how many clips a
    token is said of: then rare ones, which tell clips apart, count for more.

    Arguments
    ---------
    d_embedding : int
        Width of the embedding, which has unit length.
    vocab_size : int
        Number of tokens.

    Example
    -------
    >>> head = WordHead(d_embedding=4, vocab_size=10)
    >>> said = torch.tensor([[3, 7, 9], [2, 0, 0]])
    >>> mask = torch.tensor([[True, True, True], [True, False, False]])
    >>> head(torch.randn(2, 4), said, mask).shape
    torch.Size([2])
    """

    def __init__(self, d_embedding: int, vocab_size: int):
        super().__init__()
        self.linear = nn.Linear(d_embedding, vocab_size)
        nn.init.normal_(self.linear.weight)  # of a unit vector: logits of about 1
        self.register_buffer("weights", torch.ones(vocab_size))

    def weigh(self, n_clip_with: Mapping[int, int], n_clip: int) -> None:
        """Weigh each token by its inverse document frequency.

        Arguments
        ---------
        n_clip_with : dict
            Token -> of how many training clips it is said.
        n_clip : int
            How many training clips there are.

        Example
        -------
        >>> head = WordHead(d_embedding=4, vocab_size=3)
        >>> head.weigh({0: 8, 2: 2}, n_clip=8)
        >>> [round(weight, 2) for weight in head.weights.tolist()]
        [0.0, 1.0, 1.39]
        """
        for token, n_with in n_clip_with.items():
            self.weights[token] = math.log(n_clip / n_with)

    def forward(self, embedding: Tensor, said: Tensor, mask: Tensor) -> Tensor:
        """Return each clip's loss in nats.

        Arguments
        ---------
        embedding : torch.Tensor
            [clip, d_embedding]
        said : torch.Tensor
            Distinct tokens said about each clip [clip, token].
        mask : torch.Tensor
            True where a token counts [clip, token]; a clip may have none.

        Returns
        -------
        loss : torch.Tensor
            [clip], 0 for a clip without tokens that count.
        """
        log_probs = F.log_softmax(self.linear(embedding).float(), dim=-1)
        weights = self.weights[said] * mask
        total = weights.sum(1)
        return -(log_probs.gather(1, said) * weights).sum(1) / total.clamp(min=1e-6)
