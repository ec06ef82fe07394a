"""A control without a model: clips as points in, the nearest training clip out.

It shows how much of a score can be had by looking up similar training clips: each test
row gets the answer of the training row whose clip is nearest, among the rows with the
same prompt. Points are simple statistics of the sound, such as the mean log-mel
spectrum (``pengi_plugin.protocols.probes.log_mel_statistics``).
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

#: Test points whose distances are computed at a time, to bound memory.
CHUNK = 1024


def nearest_rows(
    train_points: np.ndarray,
    test_points: np.ndarray,
    train_prompts: Sequence[str],
    test_prompts: Sequence[str],
) -> np.ndarray:
    """Return the nearest training row with the same prompt for each test row.

    Arguments
    ---------
    train_points : numpy.ndarray
        Of the clip of each training row [training row, d].
    test_points : numpy.ndarray
        Of the clip of each test row [test row, d].
    train_prompts : list of str
        One per training row.
    test_prompts : list of str
        One per test row.

    Returns
    -------
    index : numpy.ndarray
        Index of a training row, the first of those at the least Euclidean distance;
        -1 where no training row has the prompt [test row].

    Raises
    ------
    ValueError
        If points and prompts are not equally many, points differ in width, or a
        number is not finite.

    Example
    -------
    >>> train, test = np.array([[0.0], [4.0], [5.0]]), np.array([[3.9], [3.9], [0.0]])
    >>> nearest_rows(train, test, ["a", "b", "a"], ["a", "b", "c"]).tolist()
    [2, 1, -1]
    """
    train_points = _checked(train_points, train_prompts, "training")
    test_points = _checked(test_points, test_prompts, "test")
    if train_points.shape[1] != test_points.shape[1]:
        raise ValueError(
            "Training and test points must have the same width; got "
            f"{train_points.shape[1]} and {test_points.shape[1]}."
        )
    index = np.full(len(test_points), -1)
    rows_with = defaultdict(list)
    for row, prompt in enumerate(train_prompts):
        rows_with[prompt].append(row)
    asked = defaultdict(list)
    for row, prompt in enumerate(test_prompts):
        asked[prompt].append(row)
    for prompt in asked.keys() & rows_with.keys():
        candidates = np.array(rows_with[prompt])
        for start in range(0, len(asked[prompt]), CHUNK):
            rows = asked[prompt][start : start + CHUNK]
            distances = squared_distances(test_points[rows], train_points[candidates])
            index[rows] = candidates[distances.argmin(1)]
    return index


def squared_distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the squared Euclidean distances [point, other], in float64."""
    centre = others.mean(0)  # near the origin, less is lost by subtraction
    points, others = points - centre, others - centre
    squares = np.square(points).sum(1)[:, None] + np.square(others).sum(1)
    return squares - 2 * points @ others.T


def _checked(points: np.ndarray, prompts: Sequence[str], split: str) -> np.ndarray:
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or len(points) != len(prompts):
        raise ValueError(
            f"The {split} points must be [row, d], one row per prompt; got shape "
            f"{list(points.shape)} and {len(prompts)} prompts."
        )
    if not np.isfinite(points).all():
        raise ValueError(
            f"The {split} points hold numbers that are not finite; clamp the power "
            "before its logarithm, or leave the clip out."
        )
    return points
