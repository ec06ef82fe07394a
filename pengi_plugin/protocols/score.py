"""One line of a table of results: a metric, its value, and how sure it is."""

from dataclasses import dataclass

import numpy as np

from pengi_plugin.metrics.bootstrap import bootstrap_interval


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


def mean_score(metric: str, scores, way: str = "", note: str = "") -> Score:
    """Return the mean of per-clip scores with its interval.

    Example
    -------
    >>> score = mean_score("accuracy", [1.0, 0.0, 1.0, 1.0])
    >>> score.value, score.n
    (0.75, 4)
    """
    scores = np.asarray(scores, dtype=float)
    if not len(scores):
        return Score(metric, None, way=way, note="no clip to score")
    low, high = bootstrap_interval(scores)
    return Score(metric, float(scores.mean()), low, high, len(scores), way, note)
