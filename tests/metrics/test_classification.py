"""Class scores against definitions written out with loops."""

import numpy as np
import pytest
from sklearn.metrics import recall_score

from pengi_plugin.metrics.classification import (
    accuracy,
    confusion_matrix,
    macro_accuracy,
    mean_average_precision,
    multilabel_f1,
)


@pytest.fixture
def draw():
    return np.random.default_rng(3)


def average_precision(labels, scores):
    """Mean over positives of the precision among clips scored at least as high."""
    return np.mean(
        [labels[scores >= score].mean() for score in scores[labels.astype(bool)]]
    )


def test_macro_accuracy_weighs_classes_alike_and_skips_absent_ones(draw):
    labels = draw.choice([0, 0, 0, 2, 3], size=60)
    predictions = draw.integers(-1, 5, size=60)
    shares = [(predictions[labels == c] == c).mean() for c in (0, 2, 3)]
    assert macro_accuracy(labels, predictions) == pytest.approx(np.mean(shares))
    library = recall_score(labels, predictions, labels=[0, 2, 3], average="macro")
    assert macro_accuracy(labels, predictions) == pytest.approx(library)
    assert accuracy(labels, predictions) == (labels == predictions).mean()


def test_confusion_counts_every_clip_once_and_unanswered_ones_last(draw):
    labels, predictions = draw.integers(0, 3, 50), draw.integers(-1, 3, 50)
    counts = confusion_matrix(labels, predictions, 3)
    assert counts.shape == (3, 4)
    for label, prediction in ((0, 2), (2, 0), (1, 1), (1, -1)):
        expected = sum((labels == label) & (predictions == prediction))
        assert counts[label, prediction] == expected
    assert counts.sum() == 50


def test_map_averages_the_classes_that_have_clips(draw):
    labels = (draw.random((40, 4)) < 0.2).astype(int)
    labels[:, 1] = 0
    scores = draw.integers(0, 6, (40, 4))  # many ties
    expected = [average_precision(labels[:, c], scores[:, c]) for c in (0, 2, 3)]
    assert mean_average_precision(labels, scores) == pytest.approx(np.mean(expected))


def test_a_clip_of_weight_two_counts_as_two_clips(draw):
    labels = (draw.random((20, 3)) < 0.4).astype(int)
    scores = draw.random((20, 3))
    drawn = draw.integers(20, size=20)
    weights = np.bincount(drawn, minlength=20)
    assert mean_average_precision(labels, scores, weights) == pytest.approx(
        mean_average_precision(labels[drawn], scores[drawn])
    )


def test_map_without_any_positive_clip_is_an_error():
    with pytest.raises(ValueError, match="None of the 2 classes"):
        mean_average_precision([[0, 0]], [[0.1, 0.2]])


def test_f1_pools_or_averages_the_decisions():
    labels = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0]])
    predictions = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]])
    # Class 0: 2 hits of 2 and 2. Class 1: 0 hits, 1 predicted, 2 right. Class 2: none.
    assert multilabel_f1(labels, predictions, "micro") == pytest.approx(2 * 2 / (4 + 3))
    assert multilabel_f1(labels, predictions, "macro") == pytest.approx((1 + 0) / 2)


def test_f1_of_nothing_predicted_and_nothing_right_is_zero():
    assert multilabel_f1(np.zeros((2, 2)), np.zeros((2, 2)), "macro") == 0.0
