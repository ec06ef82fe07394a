"""Interpolated modified Kneser-Ney n-grams: documents in, log-probabilities out.

The strong baseline of a small neural language model (Chen & Goodman, *An
empirical study of smoothing techniques for language modeling*, 1999). An
n-gram of token ids is packed into one 64-bit integer, so that counting is
sorting; a million tokens take some seconds.
"""

import math

import numpy as np


class KneserNey:
    """An n-gram model over token ids.

    Arguments
    ---------
    documents : list[list[int]]
        Training documents; each ends with the end-of-text id if it is to be
        predicted. A document's first tokens are predicted from its start.
    vocab_size : int
        Number of token ids.
    order : int
        Length of the longest n-gram.

    Example
    -------
    >>> model = KneserNey([[0, 1, 2], [0, 1, 1, 2], [1, 2]], vocab_size=3, order=2)
    >>> np.exp(model.log_probs([0, 1, 2])).round(2)
    array([0.33, 0.6 , 0.22])
    """

    def __init__(self, documents, vocab_size: int, order: int = 5):
        self.start = vocab_size  # stands before every document
        self.vocab_size = vocab_size
        self.order = order
        self.bits = int(vocab_size).bit_length()
        if order * self.bits > 63:
            raise ValueError(
                f"n-grams of order {order} over {vocab_size} ids do not fit 63 bits; "
                f"use an order of at most {63 // self.bits}."
            )
        raw = [np.unique(g, return_counts=True) for g in self._grams(documents)]
        self.levels = []
        for m in range(1, order + 1):
            grams, counts = raw[m - 1]
            if m < order:
                counts = self._continuations(grams, counts, raw[m][0], m)
            self.levels.append(self._level(grams, counts))

    def log_probs(self, document) -> np.ndarray:
        """Return the natural log-probability of every token of a document."""
        probs = np.full(len(document), 1.0 / self.vocab_size)
        for grams, level in zip(self._grams([document]), self.levels):
            keys, discounted, contexts, back_off = level
            at = _find(contexts, grams >> self.bits)
            seen = at >= 0
            probs[seen] *= back_off[at[seen]]
            at = _find(keys, grams)
            probs[at >= 0] += discounted[at[at >= 0]]
        return np.log(probs)

    def _grams(self, documents) -> list[np.ndarray]:
        """Pack the n-gram that ends at every token, for each order."""
        pad = [self.start] * (self.order - 1)
        parts = [np.asarray(pad + list(doc), dtype=np.int64) for doc in documents]
        ends = np.concatenate(
            [np.arange(len(part)) >= len(pad) for part in parts]
        ).nonzero()[0]
        stream = np.concatenate(parts)
        if stream.min() < 0 or (stream[ends] >= self.vocab_size).any():
            raise ValueError(f"Token ids must lie in 0..{self.vocab_size - 1}.")
        grams, packed = [], np.zeros(len(ends), dtype=np.int64)
        for m in range(self.order):
            packed = packed + (stream[ends - m] << (m * self.bits))
            grams.append(packed)
        return grams

    def _continuations(self, grams, counts, longer, m) -> np.ndarray:
        """Count the distinct tokens before each n-gram.

        Nothing but more starts can stand before a start: an n-gram that begins
        with one keeps its raw count.
        """
        suffix = longer & ((1 << (m * self.bits)) - 1)
        kinds = np.bincount(np.searchsorted(grams, suffix), minlength=len(grams))
        at_start = (grams >> ((m - 1) * self.bits)) == self.start
        return np.where(at_start, counts, kinds)

    def _level(self, grams, counts):
        """Discount counts: (keys, p without back-off, contexts, back-off weight)."""
        discount = _discounts(counts)[np.minimum(counts, 3)]
        contexts, owner = np.unique(grams >> self.bits, return_inverse=True)
        total = np.bincount(owner, weights=counts)
        back_off = np.bincount(owner, weights=discount) / total
        return grams, (counts - discount) / total[owner], contexts, back_off


def comparison(train, held_out, lm_perplexities, vocab_size, order) -> str:
    """Compare the held-out perplexities with n-grams' on the same tokens.

    One n-gram model has all the text, one per corpus has its own part; the better of
    the two is the one to beat.
    """
    mixed = KneserNey([d for docs in train.values() for d in docs], vocab_size, order)
    lines = [
        f"| held-out text | documents | tokens | {order}-gram, all text "
        f"| {order}-gram, own text | this model |",
        "|---|---|---|---|---|---|",
    ]
    for name, documents in held_out.items():
        own = KneserNey(train[name], vocab_size, order)
        figures = [
            math.exp(-np.mean(np.concatenate([m.log_probs(d) for d in documents])))
            for m in (mixed, own)
        ] + [lm_perplexities[name]]
        n_token = sum(len(document) for document in documents)
        cells = [name, len(documents), n_token, *(f"{f:.2f}" for f in figures)]
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return "\n".join(lines)


def _discounts(counts) -> np.ndarray:
    """Return what is taken from counts 0, 1, 2 and more (Chen & Goodman, eq. 26).

    Where too few n-grams are rare for the estimate, fixed discounts are used.
    """
    n1, n2, n3, n4 = ((counts == k).sum() for k in (1, 2, 3, 4))
    if min(n1, n2, n3) > 0:
        y = n1 / (n1 + 2 * n2)
        estimate = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
        if min(estimate) > 0:
            return np.array([0.0, *estimate])
    return np.array([0.0, 0.5, 1.0, 1.5])


def _find(keys, wanted) -> np.ndarray:
    """Return the index of each wanted key in the sorted keys, or -1."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, at, -1)
