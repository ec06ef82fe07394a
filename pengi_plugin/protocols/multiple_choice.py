"""Multiple choice: questions with their options in, accuracies out.

Ways to an option: the one that the LM finds likeliest ("likelihood", per token or less
the likelihood about a silent clip, see ``inference.likelihood``); the one whose text is
nearest to the generated answer in the text encoder's space ("similarity", as Pengi's
answers become classes); and the benchmark's own rule on the generated answer ("string
rule", see ``metrics/choices.py``). The others choose an
option whatever is said, and are not comparable with figures of the third.

The prompt is the question alone unless the entry has another: a model that was not
trained on lists of options seldom answers by one of them, and the string rule then
scores it near zero.
"""

from collections.abc import Callable, Sequence

import numpy as np

from pengi_plugin.metrics.choices import FAULTS
from pengi_plugin.protocols.close_ended import LIKELIHOOD_WAYS
from pengi_plugin.protocols.embeddings import embed_answers
from pengi_plugin.protocols.likelihoods import normalized_likelihoods
from pengi_plugin.protocols.score import Score, mean_score
from pengi_plugin.protocols.session import Session, generated_answers

WAYS = (*LIKELIHOOD_WAYS, "similarity", "string rule")


def multiple_choice(
    session: Session,
    rows: Sequence[dict],
    rule: Callable[[str, Sequence[str], str], bool | None],
    ways: Sequence[str] = WAYS,
) -> list[Score]:
    """Choose an option for each question.

    Arguments
    ---------
    session : Session
        The model and where answers go.
    rows : list of dict
        With ``id``, ``wav``, ``prompt``, ``choices`` (list of str), ``answer`` (the
        text of the right one) and ``kind`` (of question; each is scored apart too).
    rule : callable
        Of ``metrics.choices``: answer, choices and the right one -> whether it is
        right; None where the rule finds no option.
    ways : list of str
        Of ``WAYS``.

    Returns
    -------
    scores : list of Score
        Accuracy of all and of each kind; where no option is found in some answers,
        which count as wrong, their share and the accuracy of the others. A question
        whose right answer is none of its options counts as wrong.

    Raises
    ------
    ValueError
        If a way is unknown.
    """
    faulty = sum(row["answer"] not in row["choices"] for row in rows)
    clips = [row["wav"] for row in rows]
    chance = np.mean(
        [row["choices"].count(row["answer"]) / len(row["choices"]) for row in rows]
    )
    kinds = sorted({str(row["kind"]) for row in rows})
    scores = []
    for way in ways:
        right = right_choices(session, rows, rule, way)
        notes = [f"a guess is right in {chance:.1%}"]
        if faulty:
            notes.append(f"{faulty} questions whose answer is none of the options")
        if way == "string rule" and rule in FAULTS:
            notes.append(f"faults of the rule: {FAULTS[rule]}")
        correct = [bool(r) for r in right]
        scores.append(mean_score("accuracy", correct, way, "; ".join(notes), clips))
        for kind in kinds if len(kinds) > 1 else ():
            chosen = [i for i, row in enumerate(rows) if str(row["kind"]) == kind]
            of_kind, heard = [correct[i] for i in chosen], [clips[i] for i in chosen]
            scores.append(mean_score(f"accuracy, {kind}", of_kind, way, clips=heard))
        found = [i for i, r in enumerate(right) if r is not None]
        if len(found) < len(right):
            silent = [r is None for r in right]
            scores.append(mean_score("no option", silent, way, clips=clips))
            of_found, heard = [correct[i] for i in found], [clips[i] for i in found]
            metric = "accuracy where an option is found"
            scores.append(mean_score(metric, of_found, way, clips=heard))
    return scores


def right_choices(session: Session, rows, rule: Callable, way: str) -> list:
    """Return for each row whether the option chosen by a way is right."""
    if way == "string rule":
        answers = generated_answers(session, rows)
        return [
            rule(answer, row["choices"], row["answer"])
            for answer, row in zip(answers, rows, strict=True)
        ]
    if way in LIKELIHOOD_WAYS:
        chosen = likeliest_choices(session, rows, LIKELIHOOD_WAYS[way])
    elif way == "similarity":
        chosen = nearest_choices(session, rows)
    else:
        raise ValueError(f"Unknown way {way!r}; known are {', '.join(WAYS)}.")
    return [
        None if index is None else row["choices"][index] == row["answer"]
        for index, row in zip(chosen, rows, strict=True)
    ]


def likeliest_choices(
    session: Session, rows: Sequence[dict], normalize: str = "none"
) -> list[int | None]:
    """Return the index of the option that the LM finds likeliest, end mark included.

    ``normalize`` is one of ``inference.likelihood.NORMALIZATIONS``. None where the clip
    cannot be read.
    """
    choices = [row["choices"] for row in rows]
    found = normalized_likelihoods(session, rows, choices, normalize)
    return [
        None if np.isnan(scores).any() else int(np.argmax(scores)) for scores in found
    ]


def nearest_choices(session: Session, rows: Sequence[dict]) -> list[int | None]:
    """Return the index of the option nearest to the answer; None without an answer."""
    points = embed_answers(session.model, generated_answers(session, rows), False)
    texts = sorted({choice for row in rows for choice in row["choices"]})
    found = dict(zip(texts, embed_answers(session.model, texts, False), strict=True))
    chosen = []
    for point, row in zip(points, rows, strict=True):
        cosines = np.stack([found[choice] for choice in row["choices"]]) @ point
        empty = np.isnan(cosines).all()
        chosen.append(None if empty else int(np.nanargmax(cosines)))
    return chosen
