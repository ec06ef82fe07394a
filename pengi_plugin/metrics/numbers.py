"""Numbers in answers (pitch, count, velocity): texts in, absolute errors out."""

import re

import numpy as np

#: Words for numbers; the index of a word is its value.
_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight"),
    *("nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen"),
    *("sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?\b|\b(?:" + "|".join(_WORDS) + r")\b")


def first_number(text: str) -> float | None:
    """Return the first number in a text, in digits or as a word up to twenty.

    Arguments
    ---------
    text : str
        An answer, or the part of one that holds the number.

    Returns
    -------
    number : float
        None if there is none.

    Example
    -------
    >>> first_number("pitch 60, velocity 100"), first_number("Two dogs")
    (60.0, 2.0)
    >>> first_number("a flute") is None
    True
    """
    found = _NUMBER.search(text.lower())
    if found is None:
        return None
    word = found.group()
    return float(_WORDS.index(word)) if word in _WORDS else float(word)


def number_errors(answers: list[str], references: list[float]) -> np.ndarray:
    """Return the absolute error of each answer's first number.

    Arguments
    ---------
    answers : list of str
        One per clip.
    references : list of float
        The true numbers.

    Returns
    -------
    errors : numpy.ndarray
        [clip]; NaN where an answer holds no number. The exact share is
        ``(errors == 0).mean()``, which counts those as wrong; the mean absolute
        error is ``nanmean``, to be shown with the number of clips it leaves out.

    Example
    -------
    >>> number_errors(["pitch 60", "sixty or so", "62"], [60, 60, 60])
    array([ 0., nan,  2.])
    """
    if len(answers) != len(references):
        raise ValueError(
            f"Got {len(answers)} answers for {len(references)} references; give one "
            "reference per answer."
        )
    found = [first_number(answer) for answer in answers]
    found = np.array([np.nan if number is None else number for number in found])
    return np.abs(found - np.asarray(references, dtype=float))
