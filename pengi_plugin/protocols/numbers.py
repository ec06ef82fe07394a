"""Numbers in answers (pitch, counts, velocity): rows in, errors out."""

import re
from collections.abc import Sequence

import numpy as np

from pengi_plugin.metrics.numbers import number_errors
from pengi_plugin.protocols.score import Score, mean_score
from pengi_plugin.protocols.session import Session, generated_answers


def part_after(answer: str, word: str) -> str:
    """Return what follows a word in an answer, up to the next comma.

    Arguments
    ---------
    answer : str
        Such as ``violin, pitch 60``.
    word : str
        What the number stands behind; empty for the whole answer.

    Example
    -------
    >>> part_after("violin, pitch 60, velocity 90", "pitch")
    ' 60'
    """
    if not word:
        return answer
    found = re.search(rf"\b{re.escape(word)}\b([^,]*)", answer, re.IGNORECASE)
    return found.group(1) if found else ""


def numbers(session: Session, rows: Sequence[dict], word: str = "") -> list[Score]:
    """Compare a number in each answer with the right one.

    Arguments
    ---------
    session : Session
        The model and where answers go.
    rows : list of dict
        With ``id``, ``wav``, ``prompt`` and ``number``.
    word : str
        What the number stands behind in an answer, such as ``pitch``.

    Returns
    -------
    scores : list of Score
        The exact share, where an answer without a number is wrong, and the mean
        absolute error of the others.
    """
    answers = [part_after(text, word) for text in generated_answers(session, rows)]
    errors = number_errors(answers, [float(row["number"]) for row in rows])
    found = errors[~np.isnan(errors)]
    silent = len(errors) - len(found)
    note = f"{silent} answers without a number left out" if silent else ""
    wrong = f"{silent} answers without a number count as wrong" if silent else ""
    clips = [row["wav"] for row in rows]
    heard = [clip for clip, error in zip(clips, errors) if not np.isnan(error)]
    return [
        mean_score("exact", errors == 0, word, wrong, clips),
        mean_score("mean absolute error", found, word, note, heard, share=False),
    ]
