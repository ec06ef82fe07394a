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
from collections.abc import Iterable, Sequence

import numpy as np

from pengi_plugin.protocols.embeddings import audio_embeddings
from pengi_plugin.protocols.nearest import nearest_rows
from pengi_plugin.protocols.probes import log_mel_statistics
from pengi_plugin.protocols.session import Session, generated_answers

#: Training clips that the nearest one is looked for among, to bound time and memory
#: (a clip takes about a millisecond and a kilobyte).
N_NEAREST = 25_000


def commonest_answers(
    session: Session, rows: Sequence[dict], training_rows: Iterable[dict], seed: int
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
    session: Session, rows: Sequence[dict], training_rows: Iterable[dict], seed: int
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


def nearest_answers(
    session: Session, rows: Sequence[dict], training_rows: Iterable[dict], seed: int
) -> list[str | None]:
    """Answer every row as the nearest training clip was answered to the same prompt.

    Clips are near whose log-mel spectra have similar means and standard deviations
    over time. What this look-up reaches, a model can reach by memory alone. Of more
    than ``N_NEAREST`` training clips, so many are taken at random; a clip that cannot
    be read is nobody's nearest.
    """
    clips = sorted({row["wav"] for row in training_rows})
    chosen = set(random.Random(seed).sample(clips, min(len(clips), N_NEAREST)))
    training_rows = [row for row in training_rows if row["wav"] in chosen]
    points = log_mel_points(session, [*training_rows, *rows])
    is_read = np.isfinite(points).all(1)
    n = len(training_rows)
    known = [i for i in range(n) if is_read[i]]
    asked = [i for i in range(len(rows)) if is_read[n + i]]
    answers: list[str | None] = [None] * len(rows)
    if not known or not asked:
        return answers
    index = nearest_rows(
        points[known],
        points[n:][asked],
        [training_rows[i]["prompt"] for i in known],
        [rows[i]["prompt"] for i in asked],
    )
    for i, nearest in zip(asked, index):
        if nearest >= 0:
            answers[i] = training_rows[known[nearest]]["answer"]
    return answers


def log_mel_points(session: Session, rows: Sequence[dict]) -> np.ndarray:
    """Return the log-mel statistics of each row's clip, or NaN [row, 2 * n_mels]."""
    rate = session.model.hparams.sample_rate
    wavs = list(dict.fromkeys(row["wav"] for row in rows))
    points = audio_embeddings(
        session,
        [{"id": wav, "wav": wav} for wav in wavs],
        lambda clips: log_mel_statistics(clips, rate),
        "log-mel",
    )
    index_of = {wav: index for index, wav in enumerate(wavs)}
    return points[[index_of[row["wav"]] for row in rows]]


#: Column of the table -> control.
CONTROLS = {
    "commonest": commonest_answers,
    "shuffled": answers_to_other_clips,
    "nearest": nearest_answers,
}
