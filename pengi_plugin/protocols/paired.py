"""Two models and the same clips: each one's captions scored, and the difference."""

from collections.abc import Mapping, Sequence

import numpy as np

from pengi_plugin.metrics.captioning import score_captions
from pengi_plugin.metrics.text import best_of_references, token_f1
from pengi_plugin.protocols.captioning import TITLES
from pengi_plugin.protocols.score import Score, mean_score
from pengi_plugin.protocols.session import Session, generated_answers
from pengi_plugin.protocols.table import score_line

#: Caption metrics that need nothing but the captions; beside them, token F1.
NAMES = ("cider_d", "bleu_4", "rouge_l")


def compare_captions(
    sessions: Mapping[str, Session], rows: Sequence[dict], names: Sequence[str] = NAMES
) -> list[dict]:
    """Score the captions of two models, and their difference clip by clip.

    Arguments
    ---------
    sessions : dict
        Name -> model that is asked; two of them.
    rows : list of dict
        With ``id``, ``wav``, ``prompt`` and ``references`` (list of str).
    names : list of str
        Keys of ``protocols.captioning.TITLES``.

    Returns
    -------
    lines : list of dict
        Of a table, see ``protocols.table``: those of each model and of the second
        less the first, with 95 % intervals. The interval of a difference is over
        resampled clips, the same ones for both models. BLEU is of a corpus, not of
        a clip: it has no difference.

    Raises
    ------
    ValueError
        If there are not two models.
    """
    if len(sessions) != 2:
        raise ValueError(f"Two models are compared; got {list(sessions)}.")
    lines, clips = [], []
    for model, session in sessions.items():
        scores, of_clips = _scores(session, rows, names)
        lines += [score_line(score, group=model) for score in scores]
        clips.append(of_clips)
    first, second = clips
    for metric in second:
        if not metric.startswith("BLEU"):
            gain = mean_score(metric, second[metric] - first[metric], share=False)
            lines.append(score_line(gain, group="difference"))
    return lines


def _scores(session, rows, names) -> tuple[list[Score], dict[str, np.ndarray]]:
    """Return a model's scores, and metric -> its score of each clip."""
    answers = generated_answers(session, rows)
    references = [list(row["references"]) for row in rows]
    found = score_captions(answers, references, tuple(names))
    clips = {TITLES[name]: found.clips[name] for name in names}
    scores = [
        Score(TITLES[name], found.corpus[name], *found.interval[name], len(rows))
        for name in names
    ]
    close = np.array(best_of_references(token_f1, answers, references))
    scores.append(mean_score("token F1", close))
    return scores, {**clips, "token F1": close}
