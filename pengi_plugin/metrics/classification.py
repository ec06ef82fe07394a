"""Classification scores: indices or scores per class in, accuracy, mAP or F1 out.

scikit-learn computes them; this module decides which classes are counted.
"""

import numpy as np
from sklearn import metrics


def accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return the share of clips that are classified correctly.

    Arguments
    ---------
    labels : numpy.ndarray
        True class of each clip [clip].
    predictions : numpy.ndarray
        Predicted class [clip]; -1 for none.

    Example
    -------
    >>> accuracy([0, 0, 0, 1], [0, 0, 1, 1])
    0.75
    """
    return float(metrics.accuracy_score(labels, predictions))


def macro_accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return the mean over classes of the share of their clips classified correctly.

    Classes without a clip are left out.

    Example
    -------
    >>> round(macro_accuracy([0, 0, 0, 1], [0, 0, 1, 1]), 4)
    0.8333
    """
    labels, right = np.asarray(labels), np.equal(labels, predictions)
    n_clips, n_right = np.bincount(labels), np.bincount(labels, weights=right)
    present = n_clips > 0
    return float((n_right[present] / n_clips[present]).mean())


def confusion_matrix(
    labels: np.ndarray, predictions: np.ndarray, n_class: int
) -> np.ndarray:
    """Count clips per true class (rows) and predicted class (columns).

    Arguments
    ---------
    labels : numpy.ndarray
        True class of each clip [clip].
    predictions : numpy.ndarray
        Predicted class [clip]; -1 for none.
    n_class : int
        Number of classes.

    Returns
    -------
    counts : numpy.ndarray
        [class, class + 1]; the last column counts clips without a prediction.

    Example
    -------
    >>> confusion_matrix([0, 0, 1, 1], [0, 1, 1, -1], 2)
    array([[1, 1, 0],
           [0, 1, 1]])
    """
    predictions = np.where(np.asarray(predictions) < 0, n_class, predictions)
    counts = metrics.confusion_matrix(labels, predictions, labels=range(n_class + 1))
    return counts[:n_class]


def mean_average_precision(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """Return the mean over classes of the average precision (macro mAP).

    Arguments
    ---------
    labels : numpy.ndarray
        1 where a class is present [clip, class].
    scores : numpy.ndarray
        Any scores, higher for likelier classes [clip, class].
    weights : numpy.ndarray
        Weight of each clip [clip], as resampling needs; None: 1 for all.

    Returns
    -------
    score : float
        Classes without a positive clip are left out: their average precision is
        not defined.

    Raises
    ------
    ValueError
        If no class has a positive clip.

    Example
    -------
    >>> mean_average_precision([[1, 0], [0, 1], [1, 0]], [[3, 0], [2, 1], [1, 2]])
    0.6666666666666666
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights)
    present = np.flatnonzero((labels * weights[:, None]).sum(0) > 0)
    if not len(present):
        raise ValueError(
            f"None of the {labels.shape[1]} classes is present in any of the "
            f"{len(labels)} clips; check the labels."
        )
    return float(
        metrics.average_precision_score(
            labels[:, present], scores[:, present], sample_weight=weights
        )
    )


def multilabel_f1(labels: np.ndarray, predictions: np.ndarray, average: str) -> float:
    """Return the F1 of several classes per clip.

    Arguments
    ---------
    labels : numpy.ndarray
        1 where a class is present [clip, class].
    predictions : numpy.ndarray
        1 where it is predicted [clip, class].
    average : str
        ``micro`` pools all decisions; ``macro`` averages the classes that are
        present or predicted anywhere.

    Example
    -------
    >>> round(multilabel_f1([[1, 0], [1, 1]], [[1, 0], [0, 1]], "micro"), 2)
    0.8
    >>> round(multilabel_f1([[1, 0], [1, 1]], [[1, 0], [0, 1]], "macro"), 2)
    0.83
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    seen = (labels + predictions).any(axis=0)
    if not seen.any():
        return 0.0
    return float(
        metrics.f1_score(
            labels[:, seen], predictions[:, seen], average=average, zero_division=0.0
        )
    )
