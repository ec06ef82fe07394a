"""One line of a table of results: a metric, its value, and how sure it is."""

import math
from dataclasses import asdict, dataclass

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
        The 95 % interval; None where there is none.
    n_clips : int
        Clips (or questions, or queries) that the figure is of.
    way : str
        How answers became classes, where there are several ways.
    note : str
        What a reader must know.
    """

    metric: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n_clips: int = 0
    way: str = ""
    note: str = ""

    def as_dict(self) -> dict:
        """Return plain values, with None for what is not a number."""
        return {key: _plain(value) for key, value in asdict(self).items()}


def _plain(value):
    if isinstance(value, str) or value is None:
        return value
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and math.isnan(value) else value


def mean_score(metric: str, scores, way: str = "", note: str = "") -> Score:
    """Return the mean of per-clip scores with its interval.

    Example
    -------
    >>> score = mean_score("accuracy", [1.0, 0.0, 1.0, 1.0])
    >>> score.value, score.n_clips
    (0.75, 4)
    """
    scores = np.asarray(scores, dtype=float)
    if not len(scores):
        return Score(metric, None, way=way, note="no clip to score")
    low, high = bootstrap_interval(scores)
    return Score(metric, float(scores.mean()), low, high, len(scores), way, note)
