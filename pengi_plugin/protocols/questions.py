"""Questions: rows with reference answers in, accuracies out.

Yes/no questions and open ones are apart, as a guess is right far more often in the
first (ClothoAQA's table in Deshmukh et al., 2023, is of yes/no questions).
"""

from collections.abc import Sequence
from statistics import fmean

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
        kind that does not occur is left out.
    """
    answers = generated_answers(session, rows)
    references = [row["references"] for row in rows]
    pick = fmean if every_reference else max
    right = best_of_references(exact_match, answers, references, pick)
    close = best_of_references(token_f1, answers, references, pick)
    binary = [any(map(is_yes_no, several)) for several in references]
    kinds = {
        ("accuracy", "all questions"): right,
        ("accuracy", "yes/no"): [s for s, b in zip(right, binary) if b],
        ("accuracy", "open"): [s for s, b in zip(right, binary) if not b],
        ("token F1", "open"): [s for s, b in zip(close, binary) if not b],
    }
    return [
        mean_score(metric, scores, way=kind)
        for (metric, kind), scores in kinds.items()
        if scores
    ]
