"""Numbers in answers, by hand."""

import numpy as np
import pytest

from pengi_plugin.metrics.numbers import first_number, number_errors


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("trumpet, pitch 72, velocity 90", 72),
        ("Three sounds", 3),
        ("-12.5 dB", -12.5),
        ("zero", 0),
        ("twenty one", 20),
        ("someone weighs a stone", None),
        ("c4 and mp3", None),
    ],
)
def test_the_first_number_is_read_in_digits_or_words(text, number):
    assert first_number(text) == number


def test_an_answer_without_a_number_is_wrong_and_left_out_of_the_mean_error():
    errors = number_errors(["two", "a flute", "5", "4"], [2, 2, 3, 6])
    assert (errors == 0).mean() == 0.25
    assert np.nanmean(errors) == pytest.approx(4 / 3)


def test_answers_and_references_must_pair_up():
    with pytest.raises(ValueError, match="2 answers for 1 references"):
        number_errors(["1", "2"], [1])
