"""What each benchmark's rule reads out of an answer, its faults included."""

import json

import pytest

from pengi_plugin.metrics.choices import (
    any_letter_rule,
    first_letter_rule,
    words_rule,
)

CHOICES = ["Dog bark", "Cat", "Bird"]


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("It is a DOG, with a bark.", True),
        ("dog", False),  # a word is missing
        ("dog bark, not a cat", False),  # a word of another choice
        ("A", False),  # a letter is no choice
        ("", False),
    ],
)
def test_the_rule_of_words(answer, right):
    assert words_rule(answer, CHOICES, "Dog bark") is right


def test_the_rule_of_words_takes_another_order_for_the_right_choice():
    assert words_rule("man, then woman", ["Woman then man", "x"], "Woman then man")


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("B", True),
        ("B. Cat", True),
        ("The answer is B.", True),
        ("A cat.", False),  # an article is taken for a letter
        ("D", False),  # there is no fourth choice
        ("cat", None),
        ("", None),
    ],
)
def test_the_rule_of_the_first_letter(answer, right):
    assert first_letter_rule(answer, CHOICES, "Cat") is right


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("(B)", True),
        ("Not A. The correct answer is: (B)", True),
        ("Allegro", False),  # the A of another word
        ("a cat and a bird", True),  # the first choice that occurs
        ("A or B: a cat", True),  # two letters, so the text counts
        ("a horse", None),
    ],
)
def test_the_rule_of_any_letter(answer, right):
    assert any_letter_rule(answer, CHOICES, "Cat") is right


def test_of_real_questions_the_right_words_are_right_in_any_order(shared):
    samples = shared / "corpora" / "samples"
    items = json.loads((samples / "mmau" / "mmau-test-mini.json").read_text())
    lines = (samples / "mmar" / "MMAR-meta.jsonl").read_text().splitlines()
    items += [json.loads(line) for line in lines]
    wrongly = []
    for item in items:
        for choice in item["choices"]:
            found = words_rule(choice, item["choices"], item["answer"])
            if choice == item["answer"]:
                assert found, item["id"]
            elif found:
                wrongly.append((choice, item["answer"]))
    assert wrongly == [("Stereo first, mono later", "Mono first, stereo later")]
