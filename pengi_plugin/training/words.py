"""Teach the audio encoder which tokens the answers about its clips hold.

Pengi starts from an audio encoder that CLAP trained to fit clips to texts. An encoder
with random weights is trained by a second loss beside Pengi's, which is defined here.
It is no part of the model: a training YAML that wants it has a ``word_head`` among its
modules, and only then is anything here used.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from pengi_plugin.data.dataset import ClipDataset


class WordHead(nn.Module):
    """Predict the tokens of a clip from its embedding.

    A linear layer and a softmax over all tokens; the loss is the cross-entropy to
    the clip's tokens in equal shares (Mahajan et al., *Exploring the Limits of
    Weakly Supervised Pretraining*, ECCV 2018, section 2.2). The order of the tokens
    and the prompt play no role. After ``weigh``, rare tokens, which tell clips
    apart, have greater shares.

    Arguments
    ---------
    d_embedding : int
        Width of the embedding, which has unit length.
    vocab_size : int
        Number of tokens.

    Example
    -------
    >>> head = WordHead(d_embedding=4, vocab_size=10)
    >>> head(torch.randn(2, 4), [torch.tensor([3, 7, 9]), torch.tensor([2])]).shape
    torch.Size([2])
    """

    def __init__(self, d_embedding: int, vocab_size: int):
        super().__init__()
        self.linear = nn.Linear(d_embedding, vocab_size)
        # Embeddings are scaled to values of about 1 and weights start small: weights of
        # about 1 on a unit vector give the same logits, which Adam's steps, all of one
        # size, then change sqrt(d_embedding) times as slowly.
        self.scale = d_embedding**0.5
        nn.init.normal_(self.linear.weight, std=1 / self.scale)
        self.register_buffer("weights", torch.ones(vocab_size))

    def weigh(self, counts: Mapping[int, int], n_clip: int) -> None:
        """Weigh each token by its inverse document frequency.

        Arguments
        ---------
        counts : dict
            Token -> number of training clips that have it, see ``count_tokens``.
        n_clip : int
            Number of training clips.

        Example
        -------
        >>> head = WordHead(d_embedding=4, vocab_size=3)
        >>> head.weigh({0: 8, 2: 2}, n_clip=8)
        >>> [round(weight, 2) for weight in head.weights.tolist()]
        [0.0, 1.0, 1.39]
        """
        for token, count in counts.items():
            self.weights[token] = math.log(n_clip / count)

    def forward(self, embedding: Tensor, clip_tokens: Sequence[Tensor]) -> Tensor:
        """Return each clip's loss in nats.

        Arguments
        ---------
        embedding : torch.Tensor
            [clip, d_embedding]
        clip_tokens : list of torch.Tensor
            Distinct tokens of each clip [token]; a clip may have none.

        Returns
        -------
        loss : torch.Tensor
            [clip], 0 for a clip without tokens.
        """
        lengths = torch.tensor([len(tokens) for tokens in clip_tokens])
        tokens = pad_sequence(list(clip_tokens), batch_first=True)
        mask = torch.arange(tokens.shape[1]) < lengths[:, None]
        tokens, mask = tokens.to(embedding.device), mask.to(embedding.device)
        log_probs = F.log_softmax(self.linear(embedding * self.scale).float(), dim=-1)
        weights = self.weights[tokens] * mask
        # A clip without tokens, or with none but such as all clips have, has no loss.
        total = weights.sum(1).clamp(min=1e-6)
        return -(log_probs.gather(1, tokens) * weights).sum(1) / total


def add_clip_tokens(dataset: ClipDataset) -> None:
    """Let the items of a data set hold ``clip_tokens``, see ``tokens_of``."""
    tasks = tasks_of_any_clip(dataset)

    def clip_tokens(rows):
        return tokens_of(rows, tasks, dataset.tokenizer)

    dataset.add_dynamic_item(clip_tokens, takes="rows", provides="clip_tokens")
    dataset.set_output_keys(["id", "wav", "pairs", "clip_tokens"])


def count_tokens(dataset: ClipDataset) -> Counter:
    """Return token -> number of clips of a data set that have it."""
    tasks = tasks_of_any_clip(dataset)
    return Counter(
        token
        for clip in dataset.data
        for token in tokens_of(clip["rows"], tasks, dataset.tokenizer).tolist()
    )


def tasks_of_any_clip(dataset: ClipDataset) -> set[str]:
    """Return the tasks whose prompt is the same for every clip.

    Their answers describe the clip. "Yes" does not without its
    question.
    """
    return {
        name
        for name, template in dataset.templates.items()
        if not template._replace(answer="").fields()
    }


def tokens_of(
    rows: Sequence[Mapping], tasks: Collection[str], tokenizer: object
) -> Tensor:
    """Return the distinct tokens of a clip's answers, sorted [token].

    Arguments
    ---------
    rows : list of dict
        The clip's rows, with ``task`` and ``answer``.
    tasks : set of str
        The tasks whose answers count.
    tokenizer : object
        The language model's: ``encode_as_ids(text)``.

    Example
    -------
    >>> from types import SimpleNamespace
    >>> letters = SimpleNamespace(encode_as_ids=lambda text: [ord(c) for c in text])
    >>> rows = [{"task": "sound_events", "answer": "baa"}]
    >>> tokens_of(rows, {"sound_events"}, letters)
    tensor([97, 98])
    """
    found = {
        token
        for row in rows
        if row["task"] in tasks
        for token in tokenizer.encode_as_ids(row["answer"])
    }
    return torch.tensor(sorted(found), dtype=torch.long)
