"""Text scores against torchmetrics' SQuAD and by hand."""

import pytest

from pengi_plugin.metrics.text import (
    best_of_references,
    exact_match,
    is_yes_no,
    normalize_answer,
    token_f1,
)

PAIRS = (
    ("a dog barks", "The dog barks."),
    ("rain", "a dog barks"),
    ("two two two", "two"),
    ("dog and cat and dog", "cat, dog, dog!"),
    ("", "dog"),
)


@pytest.mark.parametrize(("answer", "reference"), PAIRS)
def test_match_and_f1_are_those_of_squad(answer, reference):
    squad = pytest.importorskip("torchmetrics.functional.text").squad
    expected = squad(
        [{"prediction_text": answer, "id": "1"}],
        [{"answers": {"answer_start": [0], "text": [reference]}, "id": "1"}],
    )
    assert 100 * exact_match(answer, reference) == expected["exact_match"].item()
    assert 100 * token_f1(answer, reference) == pytest.approx(expected["f1"].item())


def test_an_empty_answer_matches_only_an_empty_reference():
    assert token_f1("", "the") == exact_match("", "the") == 1.0
    assert token_f1("dog", "") == exact_match("dog", "") == 0.0


def test_articles_go_only_where_they_are_words():
    assert normalize_answer("The theatre, an anthem") == "theatre anthem"


def test_a_question_is_yes_no_by_its_reference():
    assert [is_yes_no(text) for text in ("Yes", "no.", "now", "yes it is")] == [
        True,
        True,
        False,
        False,
    ]


def test_the_reference_that_fits_best_counts():
    references = [["a cat", "the dog barks"], ["no"]]
    scores = best_of_references(token_f1, ["a dog barks loudly", "no."], references)
    assert scores == [pytest.approx(2 * 2 / (3 + 2)), 1.0]


@pytest.mark.parametrize(
    ("references", "message"),
    [
        ([["a"]], "Got 2 answers and 1 lists"),
        ([["a"], []], r"'y' are \[\]; give a list"),
        ([["a"], "yes"], "'y' are 'yes'; give a list"),
    ],
)
def test_each_answer_needs_a_list_of_references(references, message):
    with pytest.raises(ValueError, match=message):
        best_of_references(exact_match, ["x", "y"], references)
