"""Multiple choice: questions with their options in, accuracies out.

Three ways to an option: the one that the LM finds likeliest ("likelihood");
the one whose text is nearest to the generated answer in the text encoder's space
("similarity", as Pengi's answers become classes); and the benchmark's own rule on the
generated answer ("string rule", see ``metrics/choices.py``). The first two choose an
option whatever is said, and are not comparable with figures of the third.

The prompt is the question alone unless the entry has another: a model that was not
trained on lists of options seldom answers by one of them, and the string rule then
scores it near zero.
"""

from collections.abc import Callable, Sequence

import numpy as np

from pengi_plugin.protocols.answer_log import digest
from pengi_plugin.protocols.score import Score, mean_score
from pengi_plugin.protocols.session import (
    Session,
    clip_prefixes,
    embed_answers,
    generated_answers,
)

WAYS = ("likelihood", "similarity", "string rule")


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
        which count as wrong, their share and the accuracy of the others.

    Raises
    ------
    ValueError
        If the right answer is none of the options, or a way is unknown.
    """
    check_choices(rows)
    chance = np.mean(
        [row["choices"].count(row["answer"]) / len(row["choices"]) for row in rows]
    )
    kinds = sorted({str(row["kind"]) for row in rows})
    scores = []
    for way in ways:
        right = right_choices(session, rows, rule, way)
        note = f"a guess is right in {chance:.1%}"
        scores.append(mean_score("accuracy", [bool(r) for r in right], way, note))
        for kind in kinds if len(kinds) > 1 else ():
            of_kind = [
                bool(r) for r, row in zip(right, rows) if str(row["kind"]) == kind
            ]
            scores.append(mean_score(f"accuracy, {kind}", of_kind, way))
        found = [r for r in right if r is not None]
        if len(found) < len(right):
            scores.append(mean_score("no option", [r is None for r in right], way))
            scores.append(mean_score("accuracy where an option is found", found, way))
    return scores


def check_choices(rows: Sequence[dict]) -> None:
    """Raise ValueError if the right answer of a row is none of its options."""
    for row in rows:
        if row["answer"] not in row["choices"]:
            raise ValueError(
                f"Row {row['id']!r}: the answer {row['answer']!r} is none of the "
                f"choices {row['choices']!r}."
            )


def right_choices(session: Session, rows, rule: Callable, way: str) -> list:
    """Return for each row whether the option chosen by a way is right."""
    if way == "string rule":
        answers = generated_answers(session, rows)
        return [
            rule(answer, row["choices"], row["answer"])
            for answer, row in zip(answers, rows, strict=True)
        ]
    if way == "likelihood":
        chosen = likeliest_choices(session, rows)
    elif way == "similarity":
        chosen = nearest_choices(session, rows)
    else:
        raise ValueError(f"Unknown way {way!r}; known are {', '.join(WAYS)}.")
    return [
        None if index is None else row["choices"][index] == row["answer"]
        for index, row in zip(chosen, rows, strict=True)
    ]


def likeliest_choices(session: Session, rows: Sequence[dict]) -> list[int]:
    """Return the index of the option that the LM finds likeliest, end mark included."""
    prefixes, scores = clip_prefixes(session, rows), session.model.score_answers

    def ask(batch):
        return [
            {"log_probs": scores(prefix[None], row["choices"])[0].tolist()}
            for row, prefix in zip(batch, prefixes(batch), strict=True)
        ]

    options = digest([[row["id"], row["choices"]] for row in rows])
    found = session.ask(rows, ask, "choices", options=options)
    return [int(np.argmax(answer["log_probs"])) for answer in found]


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
