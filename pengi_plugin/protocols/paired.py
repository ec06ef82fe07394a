"""Several trainings and the same clips: their captions scored, and the differences."""

from collections.abc import Mapping, Sequence

import numpy as np

from pengi_plugin.metrics.captioning import score_captions
from pengi_plugin.metrics.text import best_of_references, token_f1
from pengi_plugin.protocols.captioning import TITLES
from pengi_plugin.protocols.score import mean_score
from pengi_plugin.protocols.session import Session, generated_answers
from pengi_plugin.protocols.table import score_line

#: Caption metrics that need nothing but the captions; beside them, token F1.
NAMES = ("cider_d", "rouge_l")
#: Those that lie between 0 and 1.
SHARES = {"ROUGE-L", "token F1"}


def compare_captions(
    sessions: Mapping[str, Sequence[Session]],
    rows: Sequence[dict],
    names: Sequence[str] = NAMES,
    notes: Mapping[str, str] | None = None,
) -> list[dict]:
    """Score the captions of several trainings, and their differences clip by clip.

    Arguments
    ---------
    sessions : dict
        Name of a training -> its models, one of each seed. The first training is what
        the others are compared with.
    rows : list of dict
        With ``id``, ``wav``, ``prompt`` and ``references`` (list of str).
    names : list of str
        Keys of ``protocols.captioning.TITLES`` whose metric is a mean over clips.
    notes : dict
        Name of a training -> what a reader must know of it.

    Returns
    -------
    lines : list of dict
        Of a table, see ``protocols.table``: each training's mean over seeds, and each
        other training's less the first's. Intervals are over resampled clips, the same
        ones for all; the note has what each seed gave.

    Raises
    ------
    ValueError
        If there is one training alone, or they have other numbers of seeds.
    """
    if len(sessions) < 2 or len({len(models) for models in sessions.values()}) != 1:
        counts = {name: len(models) for name, models in sessions.items()}
        raise ValueError(
            "Two trainings or more are compared, each with as many seeds; got "
            f"{counts}."
        )
    notes = notes or {}
    clips = {
        name: [_clip_scores(session, rows, names) for session in models]
        for name, models in sessions.items()
    }
    first, *others = clips
    lines = []
    for name in clips:
        for metric in clips[name][0]:
            of_seeds = np.stack([found[metric] for found in clips[name]])
            score = _mean_of_seeds(metric, of_seeds, metric in SHARES)
            score.note = "; ".join(filter(None, (notes.get(name), score.note)))
            lines.append(score_line(score, group=name))
    for name in others:
        for metric in clips[name][0]:
            pairs = zip(clips[name], clips[first], strict=True)
            gains = np.stack([one[metric] - base[metric] for one, base in pairs])
            group = f"{name.split(':')[0]} - {first.split(':')[0]}"
            lines.append(score_line(_mean_of_seeds(metric, gains, False), group=group))
    return lines


def _mean_of_seeds(metric: str, scores: np.ndarray, share: bool):
    """Return the score of [seed, clip], with the value of each seed as its note."""
    note = ""
    if len(scores) > 1:
        of_seeds = ", ".join(f"{value:.4g}" for value in scores.mean(1))
        note = f"{len(scores)} seeds: {of_seeds}"
    return mean_score(metric, scores.mean(0), note=note, share=share)


def _clip_scores(session, rows, names) -> dict[str, np.ndarray]:
    """Return metric -> score of each clip."""
    answers = generated_answers(session, rows)
    references = [list(row["references"]) for row in rows]
    found = score_captions(answers, references, tuple(names))
    close = np.array(best_of_references(token_f1, answers, references))
    return {**{TITLES[name]: found.clips[name] for name in names}, "token F1": close}
