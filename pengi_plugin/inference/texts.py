"""Texts in; one text per recording, padded tokens or longer prefixes out."""

import torch
from torch import Tensor


def broadcast_texts(texts, n: int, default: str | None = None) -> list[str]:
    """Return ``n`` texts, from one text for all or from a list of ``n``.

    Arguments
    ---------
    texts : str or list of str
        ``default`` if None.
    n : int
        Number of recordings.
    default : str
        Replaces None.

    Returns
    -------
    texts : list of str

    Raises
    ------
    ValueError
        If a list has another length.

    Example
    -------
    >>> broadcast_texts("who?", 2), broadcast_texts(["who?", "where?"], 2)
    (['who?', 'who?'], ['who?', 'where?'])
    """
    texts = default if texts is None else texts
    texts = [texts] * n if isinstance(texts, str) else list(texts)
    if len(texts) != n:
        raise ValueError(
            f"Got {len(texts)} texts for {n} recordings; give one for all of them, "
            "or one each."
        )
    return texts


def padded_ids(rows: list[list[int]], device=None) -> tuple[Tensor, Tensor]:
    """Pad token ids with zeros on the right.

    Arguments
    ---------
    rows : list of list of int
        The tokens of each text.
    device : torch.device
        Device of the result; the CPU if None.

    Returns
    -------
    ids : torch.Tensor
        [text, token]
    mask : torch.Tensor
        False at padding [text, token].

    Example
    -------
    >>> padded_ids([[5, 6], [7]])
    (tensor([[5, 6],
            [7, 0]]), tensor([[ True,  True],
            [ True, False]]))
    """
    n_token = max(map(len, rows))
    padded = [row + [0] * (n_token - len(row)) for row in rows]
    lengths = torch.tensor([len(row) for row in rows], device=device)
    ids = torch.tensor(padded, dtype=torch.long, device=device)
    return ids, torch.arange(n_token, device=device) < lengths[:, None]


def append_texts(model, prefix: Tensor, add_texts) -> tuple[Tensor, Tensor | None]:
    """Append the token embeddings of texts to prefixes.

    Arguments
    ---------
    model : AudioLanguageModel
        Model whose tokenizer and language model embed the texts.
    prefix : torch.Tensor
        [batch, token, d_model]
    add_texts : str or list of str
        One for all or one each; None for none.

    Returns
    -------
    prefix : torch.Tensor
        Right-padded [batch, token, d_model].
    prefix_lens : torch.Tensor
        Lengths relative to the longest [batch]; None without texts.
    """
    if add_texts is None:
        return prefix, None
    texts = broadcast_texts(add_texts, len(prefix))
    rows = [model.tokenizer.encode_as_ids(text) for text in texts]
    ids, mask = padded_ids(rows, prefix.device)
    embedded = model.mods.pengi.lm.embed(ids).to(prefix.dtype)
    lengths = prefix.shape[1] + mask.sum(1)
    prefix = torch.cat([prefix, embedded], dim=1)
    return prefix, lengths / prefix.shape[1]
