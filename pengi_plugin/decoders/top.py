"""The largest entries of long rows: log-probabilities in, the best tokens out."""

import torch
from torch import Tensor

#: Width of the blocks whose maxima are compared first. Of a vocabulary of 50,000,
#: this leaves about 400 maxima, and 128 entries for each of the ``k`` best blocks.
BLOCK = 128


def top_k(rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return what ``torch.topk`` returns, several times faster on a vocabulary.

    The ``k`` largest entries lie in the ``k`` blocks with the largest maxima (or
    tie with entries that do), so only these blocks are searched. Values are those of
    ``torch.topk``; among equal values, any index may be returned.

    Arguments
    ---------
    rows : torch.Tensor
        [row, entry]
    k : int
        At most the number of entries.

    Returns
    -------
    values, indices : torch.Tensor
        [row, k], largest first.

    Example
    -------
    >>> top_k(torch.tensor([[0.1, 0.7, 0.2]]), 2)[1]
    tensor([[1, 2]])
    """
    n_row, n_entry = rows.shape
    n_block = n_entry // BLOCK
    if n_block <= 2 * k:
        return rows.topk(k, dim=-1)
    blocks = rows[:, : n_block * BLOCK].unflatten(1, (n_block, BLOCK))
    best = blocks.amax(-1).topk(k, dim=-1).indices
    values = blocks.gather(1, best[..., None].expand(-1, -1, BLOCK)).flatten(1)
    within = torch.arange(BLOCK, device=rows.device)
    indices = (best[..., None] * BLOCK + within).flatten(1)
    rest = torch.arange(n_block * BLOCK, n_entry, device=rows.device)
    values = torch.cat([values, rows[:, n_block * BLOCK :]], dim=1)
    indices = torch.cat([indices, rest.expand(n_row, -1)], dim=1)
    values, index = values.topk(k, dim=-1)
    return values, indices.gather(1, index)
