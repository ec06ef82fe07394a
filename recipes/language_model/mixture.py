"""Documents of several corpora in, blocks of token ids out, in chosen shares."""

import numpy as np
import torch
from torch.utils.data import Dataset


class MixedBlocks(Dataset):
    """Blocks of packed documents; each corpus gives its share of the tokens.

    ``draw(epoch)`` fills the blocks of an epoch. A corpus goes on where the last
    epoch left it and is shuffled anew after each pass, so that no document is
    seen twice before all have been seen. What is drawn depends on the seed and
    the epoch alone.

    Arguments
    ---------
    corpora : dict[str, list[list[int]]]
        Token ids of each corpus's documents, the end token included.
    shares : dict[str, float]
        Share of each corpus in the tokens of an epoch; they sum to 1.
    n_block : int
        Blocks in an epoch.
    block_size : int
        Tokens in a block.
    seed : int
        Seed of the order.

    Example
    -------
    >>> corpora = {"a": [[5, 2], [6, 7, 2]], "b": [[8, 9, 2]]}
    >>> blocks = MixedBlocks(corpora, {"a": 0.5, "b": 0.5}, n_block=3, block_size=4)
    >>> blocks.draw(epoch=1)
    >>> len(blocks), blocks[0].shape
    (3, torch.Size([4]))
    """

    def __init__(self, corpora, shares, n_block: int, block_size: int, seed: int = 0):
        if set(corpora) != set(shares) or abs(sum(shares.values()) - 1) > 1e-6:
            raise ValueError(
                "shares must name every corpus and sum to 1; "
                f"got shares={shares} for {sorted(corpora)}."
            )
        empty = [name for name, documents in corpora.items() if not documents]
        if empty:
            raise ValueError(f"These corpora have no document: {empty}.")
        self.corpora = corpora
        self.shares = shares
        self.shape = (n_block, block_size)
        self.seed = seed
        self.draw(epoch=1)

    def draw(self, epoch: int) -> None:
        """Fill the blocks of an epoch (counted from 1)."""
        n_token = self.shape[0] * self.shape[1]
        chosen = []
        for rank, name in enumerate(sorted(self.corpora)):
            budget = round(n_token * self.shares[name])
            chosen.extend(self._walk(name, rank, (epoch - 1) * budget, budget))
        order = np.random.default_rng([self.seed, epoch]).permutation(len(chosen))
        stream = [token for index in order for token in chosen[index]]
        self.blocks = torch.tensor(stream[:n_token]).view(self.shape)

    def _walk(self, name: str, rank: int, first: int, n_token: int) -> list:
        """Return the documents from token ``first`` on, over shuffled passes."""
        documents = self.corpora[name]
        lengths = np.array([len(document) for document in documents])
        n_pass, offset = divmod(first, int(lengths.sum()))
        chosen, n_found = [], 0
        while n_found <= n_token:  # one more than enough, against rounding
            rng = np.random.default_rng([self.seed, rank, n_pass])
            order = rng.permutation(len(documents))
            ends = lengths[order].cumsum()
            for index in order[np.searchsorted(ends, offset, side="right") :]:
                chosen.append(documents[index])
                n_found += len(documents[index])
                if n_found > n_token:
                    break
            n_pass, offset = n_pass + 1, 0
        return chosen

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.blocks[index]
