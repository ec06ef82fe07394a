"""Confidence intervals: scores per clip in, a 95 % interval out.

Percentile bootstrap (Efron and Tibshirani, *An Introduction to the Bootstrap*,
1993, chapter 13): the score is computed again on many samples of the clips, drawn
with replacement.
"""

from collections.abc import Callable

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
#: Percentiles near the ends need about a thousand; means (the standard error) fewer.
N_RESAMPLES = 1000


def bootstrap_interval(
    scores: np.ndarray, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % interval of the mean of per-clip scores.

    Arguments
    ---------
    scores : numpy.ndarray
        One per clip [clip].
    n_resamples : int
        Number of samples drawn.
    seed : int
        Random seed.

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
    if len(scores) < 2:
        return float("nan"), float("nan")
    interval = stats.bootstrap(
        (scores,),
        np.mean,
        n_resamples=n_resamples,
        batch=max(1, 1_000_000 // len(scores)),  # about a million numbers at a time
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def bootstrap_statistic(
    statistic: Callable[[np.ndarray], float | np.ndarray],
    n_clips: int,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """Return the 95 % interval of a statistic that is not a mean over clips.

    On average, such a statistic is higher or lower on resamples than on the clips
    themselves (a clip drawn twice makes its rare class look easier, for instance);
    this bias is subtracted.

    Arguments
    ---------
    statistic : callable
        Clip indices, some repeated and some missing [clip] -> a number, or
        several [number].
    n_clips : int
        Number of clips.
    n_resamples : int
        Number of samples drawn; the statistic is computed on each.
    seed : int
        Random seed.

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
    whole = np.asarray(statistic(np.arange(n_clips)), dtype=float)
    if n_clips < 2:
        return np.stack([np.full_like(whole, np.nan)] * 2)
    draw = np.random.default_rng(seed)
    drawn = np.array(
        [statistic(draw.integers(n_clips, size=n_clips)) for _ in range(n_resamples)]
    )
    tail = (1 - CONFIDENCE) / 2
    interval = np.quantile(drawn, [tail, 1 - tail], axis=0)
    return interval - (drawn.mean(axis=0) - whole)
