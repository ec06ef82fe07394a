"""Confidence intervals: scores per clip in, a 95 % interval out.

Percentile bootstrap (Efron and Tibshirani, *An Introduction to the Bootstrap*,
1993, chapter 13): the score is computed again on many samples of the clips, drawn
with replacement. Where several scores are of one clip (its questions, captions or
queries), whole clips are drawn, as such scores go together. A share of 0 or 1 has
Wilson's interval: no resample of equal scores differs from another.
"""

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from scipy import stats

#: Of all intervals: the level that papers usually give.
CONFIDENCE = 0.95
#: Percentiles near the ends need about a thousand; means (the standard error) fewer.
N_RESAMPLES = 1000


def bootstrap_interval(
    scores: np.ndarray,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
    clips: Sequence[Hashable] | None = None,
) -> tuple[float, float]:
    """Return the 95 % interval of the mean of scores.

    Arguments
    ---------
    scores : numpy.ndarray
        [score]
    n_resamples : int
        Number of samples drawn.
    seed : int
        Random seed.
    clips : list
        The clip of each score; None: each is of its own.

    Returns
    -------
    interval : tuple of float
        (low, high); both NaN for fewer than two clips.

    Example
    -------
    >>> low, high = bootstrap_interval([0.0, 1.0] * 50)
    >>> low < 0.5 < high
    True
    """
    scores = np.asarray(scores, dtype=float)
    sums, counts = scores, np.ones(len(scores))
    if clips is not None:
        index = clip_index(clips)
        sums, counts = np.bincount(index, weights=scores), np.bincount(index)
    if len(sums) < 2:
        return float("nan"), float("nan")
    interval = stats.bootstrap(
        (sums, counts),
        lambda total, number, axis: total.sum(axis) / number.sum(axis),
        n_resamples=n_resamples,
        batch=max(1, 1_000_000 // len(sums)),  # about a million numbers at a time
        vectorized=True,
        paired=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def clip_index(clips: Sequence[Hashable]) -> np.ndarray:
    """Number clips in the order in which they first occur.

    Example
    -------
    >>> clip_index(["b", "a", "b"])
    array([0, 1, 0])
    """
    number = {clip: index for index, clip in enumerate(dict.fromkeys(clips))}
    return np.array([number[clip] for clip in clips])


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of ``n`` clips (Wilson, JASA 22, 1927).

    Example
    -------
    >>> low, high = wilson_interval(0.0, 10)
    >>> low, round(high, 3)
    (0.0, 0.278)
    """
    found = stats.binomtest(round(share * n), n).proportion_ci(CONFIDENCE, "wilson")
    return float(found.low), float(found.high)


def bootstrap_statistic(
    statistic: Callable[[np.ndarray], float | np.ndarray],
    n_rows: int,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
    clips: Sequence[Hashable] | None = None,
) -> np.ndarray:
    """Return the 95 % interval of a statistic that is not a mean over clips.

    On average, such a statistic is higher or lower on resamples than on the clips
    themselves (a clip drawn twice makes its rare class look easier, for instance);
    this bias is subtracted.

    Arguments
    ---------
    statistic : callable
        Row indices, some repeated and some missing [row] -> a number, or
        several [number]. NaN where it is not defined; such samples are left out.
    n_rows : int
        Number of rows.
    n_resamples : int
        Number of samples drawn; the statistic is computed on each.
    seed : int
        Random seed.
    clips : list
        The clip of each row; None: each is of its own.

    Returns
    -------
    interval : numpy.ndarray
        Low and high [2], or [2, number]; NaN for fewer than two clips.

    Example
    -------
    >>> scores = np.arange(20.0)
    >>> low, high = bootstrap_statistic(lambda clips: np.median(scores[clips]), 20)
    >>> bool(low < 9.5 < high)
    True
    """
    whole = np.asarray(statistic(np.arange(n_rows)), dtype=float)
    index = np.arange(n_rows) if clips is None else clip_index(clips)
    n_clips = index.max(initial=-1) + 1
    if n_clips < 2:
        return np.stack([np.full_like(whole, np.nan)] * 2)
    rows_of = np.split(np.argsort(index, kind="stable"), np.bincount(index).cumsum())
    draw = np.random.default_rng(seed)

    def resample() -> np.ndarray:
        drawn = draw.integers(n_clips, size=n_clips)
        return drawn if clips is None else np.concatenate([rows_of[i] for i in drawn])

    drawn = np.array([statistic(resample()) for _ in range(n_resamples)])
    tail = (1 - CONFIDENCE) / 2
    interval = np.nanquantile(drawn, [tail, 1 - tail], axis=0)
    return interval - (np.nanmean(drawn, axis=0) - whole)
