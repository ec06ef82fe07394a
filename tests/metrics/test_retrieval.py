"""Retrieval scores against loops and torchmetrics."""

import numpy as np
import pytest
import torch

from pengi_plugin.metrics.retrieval import (
    average_precision_at,
    ranked_relevance,
    recall_at,
)


@pytest.fixture
def similarity():
    return np.random.default_rng(5).random((12, 30))


def test_recall_counts_queries_whose_clip_is_among_the_first(similarity):
    relevance = np.eye(12, 30, dtype=bool)
    ranks = [(row > row[q]).sum() for q, row in enumerate(similarity)]
    for k in (1, 5, 10):
        found = recall_at(ranked_relevance(similarity, relevance), k)
        assert found.tolist() == [float(rank < k) for rank in ranks]


def test_average_precision_divides_by_how_many_could_be_found():
    ranked = np.array([[True, False, True, False, True]])
    assert average_precision_at(ranked, 3)[0] == pytest.approx((1 + 2 / 3) / 3)
    assert average_precision_at(ranked, 2)[0] == pytest.approx(1 / 2)


def test_average_precision_is_that_of_torchmetrics_where_all_fit(similarity):
    library = pytest.importorskip("torchmetrics.functional.retrieval")
    relevance = np.random.default_rng(6).random(similarity.shape) < 0.2
    relevance[:, 0] = True
    ours = average_precision_at(ranked_relevance(similarity, relevance), 30)
    for query in range(len(similarity)):
        expected = library.retrieval_average_precision(
            torch.tensor(similarity[query]), torch.tensor(relevance[query])
        )
        assert ours[query] == pytest.approx(expected.item())


def test_clips_that_all_score_the_same_are_found_at_chance():
    ranked = ranked_relevance(np.zeros((200, 200)), np.eye(200, dtype=bool))
    assert recall_at(ranked, 5).mean() == 5 / 200


def test_a_query_that_no_clip_answers_is_an_error():
    with pytest.raises(ValueError, match=r"1 queries have no relevant clip.* number 1"):
        ranked_relevance(np.ones((2, 2)), np.array([[True, False], [False, False]]))


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(3, 2\)"):
        ranked_relevance(np.ones((2, 3)), np.ones((3, 2)))
