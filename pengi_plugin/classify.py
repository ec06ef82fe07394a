"""Prefixes or answers and a list of labels in, one score per label out.

Pengi (Deshmukh et al., NeurIPS 2023, section 4) turns text into classes in two
ways: the label nearest to the generated answer in the text encoder's space, or the
label that the language model finds most likely.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.inference_mode()
def label_log_probs(lm, prefix: Tensor, label_ids: list[list[int]]) -> Tensor:
    """Return the log-probability of each label after each prefix.

    Each prefix is read once; all labels are scored in one batch over its cache.

    Arguments
    ---------
    lm : PrefixLM
        The language model.
    prefix : torch.Tensor
        [clip, prefix, d_model]
    label_ids : list of list of int
        The tokens of each label, end mark included.

    Returns
    -------
    log_probs : torch.Tensor
        Total natural log-probability of each label's tokens [clip, label].

    Example
    -------
    >>> from pengi_plugin.lobes.prefix_lm import PrefixLM
    >>> lm = PrefixLM(config={"model_type": "gpt2", "n_layer": 1, "n_head": 2,
    ...     "n_embd": 8, "vocab_size": 11})
    >>> label_log_probs(lm, torch.randn(3, 5, 8), [[1, 2], [3, 4, 0]]).shape
    torch.Size([3, 2])
    """
    n_clip, n_label = len(prefix), len(label_ids)
    logits, state = lm.prefill(prefix)
    state.repeat(n_label)
    logits = logits.repeat_interleave(n_label, dim=0)
    n_token = max(map(len, label_ids))
    rows = [ids + [0] * (n_token - len(ids)) for ids in label_ids]
    ids = torch.tensor(rows, device=prefix.device).repeat(n_clip, 1)
    lengths = [len(ids) for ids in label_ids]
    lengths = torch.tensor(lengths, device=prefix.device).repeat(n_clip)
    total = torch.zeros(n_clip * n_label, device=prefix.device)
    for step in range(n_token):
        if step > 0:
            logits = lm.step(ids[:, step - 1], state)
        log_probs = logits.log_softmax(-1, dtype=torch.float32)
        chosen = log_probs.gather(1, ids[:, step : step + 1])[:, 0]
        total += chosen.masked_fill(step >= lengths, 0.0)
    return total.view(n_clip, n_label)


@torch.inference_mode()
def text_embeddings(pengi, texts: list[str], projected: bool = False) -> Tensor:
    """Embed texts in the space of the text encoder, with unit norm.

    A text longer than the encoder reads is cut at a word. Without text encoder, a
    text is the mean of its tokens' embeddings in the language model.

    Arguments
    ---------
    pengi : Pengi
        The model.
    texts : list of str
        Answers or labels.
    projected : bool
        Whether to go on through the trained projection of prompts.

    Returns
    -------
    embeddings : torch.Tensor
        [text, d_text], or [text, d_embedding] if projected.
    """
    encoder = pengi.text_encoder
    texts = [cut_to_fit(encoder, text) for text in texts]
    embeddings = pengi.text_projection(encoder(texts)) if projected else encoder(texts)
    if embeddings.dim() == 3:
        lengths = [len(encoder.prompt_ids(text)) for text in texts]
        embeddings = torch.stack(
            [row[:n].mean(0) for row, n in zip(embeddings, lengths, strict=True)]
        )
    return F.normalize(embeddings.float(), dim=-1)


def cut_to_fit(encoder, text: str) -> str:
    """Drop the last words of a text until the encoder reads all of it."""
    while len(encoder.prompt_ids(text)) > encoder.max_tokens and text:
        text = text.rpartition(" ")[0]
    return text
