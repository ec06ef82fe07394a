import numpy as np
import pytest

from pengi_plugin.protocols import nearest
from pengi_plugin.protocols.nearest import nearest_rows


def by_hand(train, test, train_prompts, test_prompts):
    """Search one row at a time."""
    found = []
    for point, prompt in zip(test, test_prompts):
        best, least = -1, np.inf
        for row, other in enumerate(train):
            distance = np.sqrt(((point - other) ** 2).sum())
            if train_prompts[row] == prompt and distance < least:
                best, least = row, distance
        found.append(best)
    return found


@pytest.mark.parametrize("chunk", [3, 1024])
def test_rows_are_those_of_a_search_one_by_one(monkeypatch, chunk):
    monkeypatch.setattr(nearest, "CHUNK", chunk)
    draw = np.random.default_rng(0)
    # Decibels of a quiet clip: far from the origin, close to each other.
    train, test = draw.normal(-80, 1, (60, 5)), draw.normal(-80, 1, (25, 5))
    prompts = draw.choice(["what?", "where?", "when?"], 60).tolist()
    asked = draw.choice(["what?", "where?", "who?"], 25).tolist()
    expected = by_hand(train, test, prompts, asked)
    assert -1 in expected
    assert nearest_rows(train, test, prompts, asked).tolist() == expected


def test_a_nearer_clip_with_another_prompt_does_not_count():
    train = np.array([[0.0, 0.0], [9.0, 9.0]])
    found = nearest_rows(train, np.array([[0.1, 0.0]]), ["a", "b"], ["b"])
    assert found.tolist() == [1]


def test_of_equally_near_rows_the_first_is_taken():
    train = np.ones((3, 2))
    assert nearest_rows(train, train[:1], ["b", "a", "a"], ["a"]).tolist() == [1]


def test_points_and_prompts_of_different_number_are_refused():
    with pytest.raises(ValueError, match=r"test points .* shape \[2, 3\] and 1 prompt"):
        nearest_rows(np.ones((1, 3)), np.ones((2, 3)), ["a"], ["a"])


def test_points_of_different_width_are_refused():
    with pytest.raises(ValueError, match="same width; got 3 and 4"):
        nearest_rows(np.ones((1, 3)), np.ones((1, 4)), ["a"], ["a"])


def test_points_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="training points hold numbers that are not"):
        nearest_rows(np.full((1, 3), -np.inf), np.ones((1, 3)), ["a"], ["a"])
