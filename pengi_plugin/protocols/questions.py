"""Questions: rows with reference answers in, accuracies out.

Yes/no questions and open ones are apart, as a guess is right far more often in the
first (ClothoAQA's table in Deshmukh et al., 2023, is of yes/no questions).
"""

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from pengi_plugin.metrics.text import (
    best_of_references,
    exact_match,
    is_yes_no,
    token_f1,
)
from pengi_plugin.protocols.score import Score, mean_score
from pengi_plugin.protocols.session import Session, generated_answers


def question_answering(
    session: Session, rows: Sequence[dict], every_reference: bool = False
) -> list[Score]:
    """Answer questions and compare the answers after the usual normalisation.

    Arguments
    ---------
    session : Session
        The model and where answers go.
    rows : list of dict
        With ``id``, ``wav``, ``prompt`` (the question) and ``references`` (list of
        str; an answer that equals any of them is right).
    every_reference : bool
        Whether every reference is a question of its own, as where each is of another
        annotator: an answer that equals two of three is right by two thirds.

    Returns
    -------
    scores : list of Score
        Accuracy of all, yes/no and open questions, and token F1 of open ones; a
        kind that does not occur is left out. A question without references counts as
        wrong. Intervals are over clips.
    """
    references = [row["references"] for row in rows]
    asked = [index for index, several in enumerate(references) if several]
    answers = generated_answers(session, rows)
    said, right_ones = [answers[i] for i in asked], [references[i] for i in asked]
    pick = fmean if every_reference else max
    right, close = np.zeros(len(rows)), np.zeros(len(rows))
    right[asked] = best_of_references(exact_match, said, right_ones, pick)
    close[asked] = best_of_references(token_f1, said, right_ones, pick)
    n_bad = len(rows) - len(asked)
    note = f"{n_bad} questions without an answer count as wrong" if n_bad else ""
    binary = np.array([is_binary(several) for several in references], dtype=bool)
    clips = np.array([str(row["wav"]) for row in rows])
    everything = np.ones(len(rows), dtype=bool)
    kinds = {
        ("accuracy", "all questions"): (right, everything),
        ("accuracy", "yes/no"): (right, binary),
        ("accuracy", "open"): (right, ~binary),
        ("token F1", "open"): (close, ~binary),
    }
    return [
        mean_score(metric, scores[chosen], kind, note, clips[chosen].tolist())
        for (metric, kind), (scores, chosen) in kinds.items()
        if chosen.any()
    ]


def is_binary(references: Sequence[str]) -> bool:
    """Tell whether a question asks for yes or no: all of its answers are one of them.

    No question of ClothoAQA has both such answers and others, so that there this is
    its ``question_kind``, whichever of a question's answers the references are.

    Example
    -------
    >>> is_binary(["Yes.", "no"]), is_binary(["yes", "two"]), is_binary([])
    (True, False, False)
    """
    return bool(references) and all(map(is_yes_no, references))
