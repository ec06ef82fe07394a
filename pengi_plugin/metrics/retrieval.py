"""Retrieval scores: similarities of queries and clips in, recall and mAP out."""

import numpy as np


def ranked_relevance(similarity: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """Sort each query's relevance by decreasing similarity.

    Arguments
    ---------
    similarity : numpy.ndarray
        [query, clip]; ties keep the order of the clips, NaN (a clip that cannot be
        read) comes after all numbers.
    relevance : numpy.ndarray
        True where a clip is relevant to a query [query, clip].

    Returns
    -------
    ranked : numpy.ndarray
        Bool [query, rank].

    Raises
    ------
    ValueError
        If shapes differ, or a query has no relevant clip.

    Example
    -------
    >>> ranked_relevance([[0.1, 0.9]], [[True, False]])
    array([[False,  True]])
    >>> ranked_relevance([[np.nan, -np.inf, 0.1]], [[True, False, False]])
    array([[False, False,  True]])
    """
    similarity, relevance = np.asarray(similarity), np.asarray(relevance, dtype=bool)
    if similarity.shape != relevance.shape:
        raise ValueError(
            f"similarity and relevance must both be [query, clip]; got "
            f"{similarity.shape} and {relevance.shape}."
        )
    empty = np.flatnonzero(~relevance.any(axis=1))
    if len(empty):
        raise ValueError(
            f"{len(empty)} queries have no relevant clip, the first is number "
            f"{empty[0]}; leave them out."
        )
    order = np.argsort(-similarity, axis=1, kind="stable")
    return np.take_along_axis(relevance, order, axis=1)


def recall_at(ranked: np.ndarray, k: int) -> np.ndarray:
    """Return 1 for each query with a relevant clip among its first ``k``, else 0.

    Arguments
    ---------
    ranked : numpy.ndarray
        Result of ``ranked_relevance`` [query, rank].
    k : int
        Number of clips considered per query.

    Returns
    -------
    found : numpy.ndarray
        [query]; its mean is R@k.

    Example
    -------
    >>> recall_at(np.array([[False, True], [True, False]]), 1)
    array([0., 1.])
    """
    return ranked[:, :k].any(axis=1).astype(float)


def average_precision_at(ranked: np.ndarray, k: int) -> np.ndarray:
    """Return the average precision over each query's first ``k`` clips.

    The sum of the precisions at relevant clips, divided by the number of relevant
    clips (at most ``k``), as in DCASE's language-based audio retrieval task.

    Arguments
    ---------
    ranked : numpy.ndarray
        Result of ``ranked_relevance`` [query, rank].
    k : int
        Number of clips considered per query.

    Returns
    -------
    precision : numpy.ndarray
        [query]; its mean is mAP@k.

    Example
    -------
    >>> average_precision_at(np.array([[False, True, True]]), 10)
    array([0.58333333])
    """
    top = ranked[:, :k]
    precision = top.cumsum(axis=1) / np.arange(1, top.shape[1] + 1)
    possible = np.minimum(ranked.sum(axis=1), k)
    return (precision * top).sum(axis=1) / possible
