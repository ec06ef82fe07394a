"""Options chosen by the tone model, against what it is known to say."""

import pytest

from pengi_plugin.metrics.choices import first_letter_rule, words_rule
from pengi_plugin.protocols.multiple_choice import multiple_choice


def by_name(scores):
    return {(score.metric, score.way): score for score in scores}


@pytest.fixture
def rows(clips):
    return [
        clips(500, "a", choices=["cat", "dog"], answer="dog", kind="animals"),
        clips(1000, "b", choices=["snow", "rain"], answer="rain", kind="weather"),
        clips(
            1500, "c", choices=["church", "car", "a bell"], answer="car", kind="weather"
        ),
        clips(2000, "d", choices=["dog", "cat"], answer="cat", kind="animals"),
    ]


def test_the_string_rule_reads_what_was_said(session, rows):
    scores = by_name(multiple_choice(session, rows, words_rule, ["string rule"]))
    # "dog" and "rain falling" are right, "church bells" and "" are not.
    assert scores["accuracy", "string rule"].value == 2 / 4
    assert scores["accuracy, animals", "string rule"].value == 1 / 2
    assert scores["accuracy, weather", "string rule"].n == 2
    guess = (3 * 1 / 2 + 1 / 3) / 4
    note = scores["accuracy", "string rule"].note
    assert note.startswith(f"a guess is right in {guess:.1%}; faults of the rule: a l")
    assert ("no option", "string rule") not in scores


def test_the_likeliest_option_is_chosen(session, rows, model):
    scores = by_name(multiple_choice(session, rows, words_rule, ["likelihood"]))
    # By letters, "church" is nearest to "church bells", and "dog" and "cat" are as far
    # from an empty answer: the first counts.
    assert scores["accuracy", "likelihood"].value == 2 / 4
    heard = model.n_heard
    asked = [{**row, "choices": row["choices"][::-1]} for row in rows]
    scores = by_name(multiple_choice(session, asked, words_rule, ["likelihood"]))
    assert scores["accuracy", "likelihood"].value == 3 / 4
    assert model.n_heard == heard


def test_the_option_nearest_to_the_answer_is_chosen(session, rows):
    scores = by_name(multiple_choice(session, rows, words_rule, ["similarity"]))
    assert scores["accuracy", "similarity"].value == 2 / 4
    assert scores["no option", "similarity"].value == 1 / 4
    found = scores["accuracy where an option is found", "similarity"]
    assert (found.value, found.n) == (pytest.approx(2 / 3), 3)


def test_answers_without_an_option_are_counted_and_left_out_beside(
    session, rows, model
):
    model.words = {500: "B", 1000: "A dog", 1500: "church", 2000: "The answer is B."}
    scores = by_name(multiple_choice(session, rows, first_letter_rule, ["string rule"]))
    assert scores["accuracy", "string rule"].value == 2 / 4
    assert scores["no option", "string rule"].value == 1 / 4
    found = scores["accuracy where an option is found", "string rule"]
    assert found.value == pytest.approx(2 / 3)


def test_a_question_whose_answer_is_no_option_is_wrong_and_counted(session, rows):
    right = by_name(multiple_choice(session, rows, words_rule, ["similarity"]))
    rows[0]["answer"] = "horse"
    scores = by_name(multiple_choice(session, rows, words_rule, ["similarity"]))
    score = scores["accuracy", "similarity"]
    assert score.value == right["accuracy", "similarity"].value - 1 / len(rows)
    assert score.note.endswith("; 1 questions whose answer is none of the options")


def test_an_unknown_way_is_refused(session, rows):
    with pytest.raises(ValueError, match=r"Unknown way 'guess'; known are likelihood"):
        multiple_choice(session, rows, words_rule, ["guess"])


def test_options_of_different_length_and_of_silence(session, rows, model):
    ways = ["likelihood per token", "prior-corrected likelihood"]
    rows[0] |= {"choices": ["dog", "dog dog dog dog cat"], "answer": "dog"}
    scores = by_name(multiple_choice(session, rows[:1], words_rule, ways))
    # The letters of the first differ from what is heard ("dog") by 0, of 4 tokens.
    assert scores["accuracy", ways[0]].value == 1.0
    # Silence is heard as "dog" too: nothing is left of its likelihood, a tie.
    assert scores["accuracy", ways[1]].value == 1.0
