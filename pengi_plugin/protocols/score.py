"""One line of a table of results: a metric, its value, and how sure it is."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from pengi_plugin.metrics.bootstrap import (
    N_RESAMPLES,
    bootstrap_interval,
    bootstrap_statistic,
    wilson_interval,
)


@dataclass
class Score:
    """One figure.

    Arguments
    ---------
    metric : str
        Such as ``accuracy``.
    value : float
        None where it could not be computed; ``note`` then says why.
    low, high : float
        The 95 % interval; None or NaN where there is none.
    n : int
        Clips (or questions, or queries) that the figure is of.
    way : str
        How answers became classes, or the part of the answer, where a protocol
        has several.
    note : str
        What a reader must know.
    """

    metric: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    way: str = ""
    note: str = ""


def mean_score(
    metric: str,
    scores: Sequence[float],
    way: str = "",
    note: str = "",
    clips: Sequence[Hashable] | None = None,
    share: bool = True,
) -> Score:
    """Return the mean of scores with its interval.

    Arguments
    ---------
    metric : str
        Such as ``accuracy``.
    scores : list of float
        One per clip, question or query.
    way, note : str
        See ``Score``.
    clips : list
        The clip of each score, where several are of one; the interval is over clips.
    share : bool
        Whether scores lie between 0 and 1: where all are 0, or all are 1, the interval
        is then Wilson's.

    Example
    -------
    >>> score = mean_score("accuracy", [1.0, 0.0, 1.0, 1.0])
    >>> score.value, score.n
    (0.75, 4)
    """
    scores = np.asarray(scores, dtype=float)
    if not len(scores):
        return Score(metric, None, way=way, note="no clip to score")
    value = float(scores.mean())
    n_clips = len(scores if clips is None else set(clips))
    if share and n_clips > 1 and value in (0.0, 1.0):
        low, high = wilson_interval(value, n_clips)
    else:
        low, high = bootstrap_interval(scores, clips=clips)
    return Score(metric, value, low, high, len(scores), way, note)


def share_score(
    metric: str,
    statistic: Callable[[np.ndarray], float],
    clips: Sequence[Hashable],
    way: str = "",
    note: str = "",
    n_resamples: int = N_RESAMPLES,
) -> Score:
    """Return a statistic of all rows that lies between 0 and 1, with its interval.

    Arguments
    ---------
    metric : str
        Such as ``macro accuracy``.
    statistic : callable
        Row indices, some repeated and some missing [row] -> a number.
    clips : list
        The clip of each row; the interval is over clips.
    way, note : str
        See ``Score``.
    n_resamples : int
        Number of samples drawn; the statistic is computed on each.

    Returns
    -------
    score : Score
        Its interval holds its value, also where few clips of a class make the
        resamples lean to one side.
    """
    clips = list(clips)
    value = float(statistic(np.arange(len(clips))))
    n_clips = len(set(clips))
    if n_clips > 1 and value in (0.0, 1.0):
        low, high = wilson_interval(value, n_clips)
    else:
        grouped = clips if n_clips < len(clips) else None
        interval = bootstrap_statistic(
            statistic, len(clips), n_resamples, clips=grouped
        )
        low, high = map(float, interval.clip(0.0, 1.0))
        low, high = (low, high) if n_clips < 2 else (min(low, value), max(high, value))
    return Score(metric, value, low, high, len(clips), way, note)


def with_unreadable(score: Score, n: int) -> None:
    """Say in a score's note how many rows could not be read; they count as wrong.

    Example
    -------
    >>> score = Score("accuracy", 0.5, note="no tie")
    >>> with_unreadable(score, 2)
    >>> score.note
    '2 unreadable, counted as wrong; no tie'
    """
    if n:
        score.note = "; ".join(
            filter(None, (f"{n} unreadable, counted as wrong", score.note))
        )
