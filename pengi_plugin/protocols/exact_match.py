"""Written answers: rows with reference answers in, the share that is right out.

An answer is right if it equals one of its references after SQuAD's normalisation;
see ``metrics.text``.
"""

from collections.abc import Sequence

from pengi_plugin.metrics import text
from pengi_plugin.protocols.score import Score, mean_score
from pengi_plugin.protocols.session import Session, generated_answers

METRIC = "exact match"


def exact_match(
    session: Session, rows: Sequence[dict], parts: Sequence[str] = ()
) -> list[Score]:
    """Compare answers with their references, whole and part by part.

    Arguments
    ---------
    session : Session
        The model and where answers go.
    rows : list of dict
        With ``id``, ``wav``, ``prompt`` and ``references`` (list of str).
    parts : list of str
        Names of the comma-separated parts of an answer, each of which gets a score
        of its own; an empty name leaves a part out.

    Returns
    -------
    scores : list of Score
        Of whole answers, then of each named part, with its name as ``way``.
    """
    answers = generated_answers(session, rows)
    references = [row["references"] for row in rows]
    right = text.best_of_references(text.exact_match, answers, references)
    clips = [row["wav"] for row in rows]
    scores = [mean_score(METRIC, right, clips=clips)]
    for index, part in enumerate(parts):
        if part:
            right = text.best_of_references(
                text.exact_match,
                [text.part_of(answer, index) for answer in answers],
                [[text.part_of(one, index) for one in some] for some in references],
            )
            scores.append(mean_score(METRIC, right, way=part, clips=clips))
    return scores
