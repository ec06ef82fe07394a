"""Controls: other sources of answers, which a model's score must beat.

A model that ignores the sound can still be right: by giving the commonest answer,
or by what the prompt alone tells. A control is a function of a session, the rows
that are scored, the training rows and a random seed; each row has ``id``, ``wav``,
``prompt``, ``group`` (rows of one chance level) and ``answer``. It returns one answer
per row, None where it has none. To add one, write it and name its column of the
table in ``CONTROLS``.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from pengi_plugin.protocols.session import Session, generated_answers


def commonest_answers(
    session: Session, rows: Sequence[dict], training_rows: Sequence[dict], seed: int
) -> list[str | None]:
    """Answer every row with the commonest training answer of its group.

    Example
    -------
    >>> heard = [{"group": "a", "answer": text} for text in ("yes", "no", "yes")]
    >>> commonest_answers(None, [{"group": "a"}, {"group": "b"}], heard, seed=0)
    ['yes', None]
    """
    counts = defaultdict(Counter)
    for row in training_rows:
        counts[row["group"]][row["answer"]] += 1
    commonest = {
        group: answers.most_common(1)[0][0] for group, answers in counts.items()
    }
    return [commonest.get(row["group"]) for row in rows]


def answers_to_other_clips(
    session: Session, rows: Sequence[dict], training_rows: Sequence[dict], seed: int
) -> list[str | None]:
    """Ask the model each row's prompt about another clip of the row's group."""
    swapped = swap_clips(rows, seed)
    answers = generated_answers(session, swapped)
    found = {row["id"]: text for row, text in zip(swapped, answers, strict=True)}
    return [found.get(row["id"]) for row in rows]


def swap_clips(rows: Sequence[dict], seed: int) -> list[dict]:
    """Give the rows of each clip another clip of their group.

    Arguments
    ---------
    rows : list of dict
        With ``wav`` and ``group``.
    seed : int
        Random seed of the order in which clips are exchanged.

    Returns
    -------
    swapped : list of dict
        The rows with other ``wav``s; those of a group with a single clip are left
        out.

    Example
    -------
    >>> rows = [{"group": "a", "wav": "1"}, {"group": "a", "wav": "2"}]
    >>> [row["wav"] for row in swap_clips(rows, seed=0)]
    ['2', '1']
    """
    clips = defaultdict(dict)
    for row in rows:
        clips[row["group"]][row["wav"]] = None
    generator = random.Random(seed)
    other = {}
    for group, wavs in clips.items():
        order = generator.sample(list(wavs), len(wavs))
        other[group] = dict(zip(order, order[1:] + order[:1]))
    return [
        {**row, "wav": other[row["group"]][row["wav"]]}
        for row in rows
        if len(clips[row["group"]]) > 1
    ]


#: Column of the table -> control.
CONTROLS = {"commonest": commonest_answers, "shuffled": answers_to_other_clips}
