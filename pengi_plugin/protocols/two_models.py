"""Pengi and CLAP asked about the same clips: each one's scores, and the difference.

A Pengi answers and its answer is matched with texts; a CLAP (an ``AudioTextModel``)
matches the clip itself. Which of both a session's model is decides how it is asked.
Intervals of differences are over resampled clips, the same ones for both models.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pengi_plugin.metrics.bootstrap import bootstrap_statistic
from pengi_plugin.metrics.classification import mean_average_precision
from pengi_plugin.metrics.retrieval import (
    average_precision_at,
    ranked_relevance,
    recall_at,
)
from pengi_plugin.protocols.close_ended import (
    CONTRASTIVE,
    N_MAP_RESAMPLES,
    best_class,
    class_scores,
    class_targets,
    occurring_classes,
)
from pengi_plugin.protocols.embeddings import audio_embeddings
from pengi_plugin.protocols.probes import probe_outputs, rates_text
from pengi_plugin.protocols.retrieval import queries, query_scores
from pengi_plugin.protocols.score import Score, mean_score
from pengi_plugin.protocols.session import Session, is_contrastive
from pengi_plugin.protocols.table import score_line

#: Why a line has no figure.
CANNOT = "CLAP cannot: it writes no text"


def difference_lines(
    metric: str,
    scores: Mapping[str, np.ndarray],
    ways: Mapping[str, str],
    note: str = "",
    clips: Sequence | None = None,
) -> list[dict]:
    """Return the lines of per-clip scores of two models, and of their difference.

    Arguments
    ---------
    metric : str
        Such as ``accuracy``; its value is the mean of the scores.
    scores : dict
        Model -> score of each clip or query; two of them.
    ways : dict
        Model -> how it was asked.
    note : str
        What a reader must know.
    clips : list
        The clip of each score, where several are of one; intervals are over clips.

    Example
    -------
    >>> scores = {"Pengi": np.array([1.0, 1.0]), "CLAP": np.array([1.0, 0.0])}
    >>> lines = difference_lines("accuracy", scores, {"Pengi": "", "CLAP": ""})
    >>> [(line["model"], line["score"]) for line in lines]
    [('Pengi', 1.0), ('CLAP', 0.5), ('Pengi - CLAP', 0.5)]
    """
    first, second = two(scores)
    lines = [
        score_line(
            mean_score(metric, scores[model], ways[model], note, clips), model=model
        )
        for model in (first, second)
    ]
    gain = scores[first] - scores[second]
    gain = mean_score(metric, gain, note=note, clips=clips, share=False)
    return [*lines, score_line(gain, model=f"{first} - {second}")]


def two(models: Mapping) -> tuple[str, str]:
    """Return the names of two models.

    Raises
    ------
    ValueError
        If there are not two.
    """
    if len(models) != 2:
        raise ValueError(f"Two models are compared; got {list(models)}.")
    return tuple(models)


def classes_scored(
    sessions: Mapping[str, Session],
    rows: Sequence[dict],
    way: str,
    class_form: str,
    part: int | None,
) -> tuple[dict, dict, np.ndarray]:
    """Return each model's scores [row, class], its way, and the targets."""
    two(sessions)
    classes = occurring_classes(rows)
    values, ways = {}, {}
    for model, session in sessions.items():
        if is_contrastive(session):
            form, ways[model], of_part = class_form, CONTRASTIVE, None
        else:
            form, ways[model], of_part = "{label}", way, part
        found = class_scores(session, rows, classes, form, ways[model], of_part)
        values[model] = found
    return values, ways, class_targets(rows, classes)


def compare_classes(
    sessions: Mapping[str, Session],
    rows: Sequence[dict],
    way: str = "similarity",
    class_form: str = "{label}",
    part: int | None = None,
) -> list[dict]:
    """Compare zero-shot accuracies where every clip has one class.

    Arguments
    ---------
    sessions : dict
        Name -> model; two of them.
    rows : list of dict
        With ``id``, ``wav``, ``prompt`` and ``label``.
    way : str
        Pengi's, of ``close_ended.WAYS``.
    class_form : str
        Text that stands for a class in CLAP, with ``{label}``.
    part : int
        Which comma-separated part of Pengi's answer holds the class; None: all of it.

    Returns
    -------
    lines : list of dict
        See ``difference_lines``.
    """
    values, ways, labels = classes_scored(sessions, rows, way, class_form, part)
    hits = {
        model: (best_class(found) == labels).astype(float)
        for model, found in values.items()
    }
    return difference_lines("accuracy", hits, ways)


def compare_labels(
    sessions: Mapping[str, Session],
    rows: Sequence[dict],
    way: str = "similarity",
    class_form: str = "{label}",
) -> list[dict]:
    """Compare zero-shot mAP where a clip has several classes.

    Arguments are those of ``compare_classes``; rows have ``labels``.
    """
    values, ways, labels = classes_scored(sessions, rows, way, class_form, None)
    last = np.finfo(np.float32).min  # an unreadable clip, below every likelihood
    values = {model: np.nan_to_num(found, nan=last) for model, found in values.items()}
    first, second = two(values)

    def map_of(model: str) -> Callable:
        def weighted(clips: np.ndarray) -> float:
            weights = np.bincount(clips, minlength=len(labels))
            return mean_average_precision(labels, values[model], weights)

        return weighted

    def gain(clips: np.ndarray) -> float:
        return map_of(first)(clips) - map_of(second)(clips)

    statistics = {first: map_of(first), second: map_of(second)}
    statistics[f"{first} - {second}"] = gain
    lines = []
    for name, statistic in statistics.items():
        low, high = bootstrap_statistic(statistic, len(labels), N_MAP_RESAMPLES)
        value = statistic(np.arange(len(labels)))
        score = Score("mAP", value, low, high, len(labels), ways.get(name, ""))
        lines.append(score_line(score, model=name))
    return lines


def compare_retrieval(
    sessions: Mapping[str, Session], rows: Sequence[dict], way: str = "captions"
) -> list[dict]:
    """Compare text-to-audio retrieval: every reference caption is a query.

    Arguments
    ---------
    sessions : dict
        Name -> model; two of them.
    rows : list of dict
        With ``id``, ``wav``, ``prompt`` and ``references`` (list of str).
    way : str
        Pengi's, of ``retrieval.WAYS``.

    Returns
    -------
    lines : list of dict
        R@1, R@5, R@10 and mAP@10, see ``difference_lines``.
    """
    texts, relevance = queries(rows)
    ranked, ways = {}, {}
    for model, session in sessions.items():
        ways[model] = CONTRASTIVE if is_contrastive(session) else way
        found = query_scores(session, rows, texts, ways[model])
        ranked[model] = ranked_relevance(found, relevance)
    # A query goes with the first clip that answers it, as in text_to_audio.
    about = (ways, f"{len(texts)} queries among {len(rows)} clips")
    about += (relevance.argmax(axis=1).tolist(),)
    lines = []
    for k in (1, 5, 10):
        hits = {model: recall_at(found, k) for model, found in ranked.items()}
        lines += difference_lines(f"R@{k}", hits, *about)
    precision = {model: average_precision_at(x, 10) for model, x in ranked.items()}
    return lines + difference_lines("mAP@10", precision, *about)


def compare_probes(
    sessions: Mapping[str, Session],
    rows: Sequence[dict],
    kinds: Sequence[str] = ("L1", "L3"),
    seeds: Sequence[int] = (0, 1, 2),
) -> list[dict]:
    """Compare probes of the models' audio embeddings.

    Arguments
    ---------
    sessions : dict
        Name -> model; two of them.
    rows : list of dict
        With ``id``, ``wav``, ``label`` and ``fold`` (see ``probes.probe``).
    kinds : list of str
        Of ``probes.PROBES``.
    seeds : list of int
        One probe each; a clip's score is the share of them that is right.

    Returns
    -------
    lines : list of dict
        See ``difference_lines``.
    """
    targets = class_targets(rows, occurring_classes(rows))
    folds, clips = ([row[name] for row in rows] for name in ("fold", "wav"))
    points = {model: audio_embeddings(s, rows) for model, s in sessions.items()}
    lines = []
    for kind in kinds:
        hits, ways = {}, {}
        for model, embeddings in points.items():
            way = f"{kind} on {model}"
            outputs, chosen, rates = probe_outputs(
                embeddings, targets, folds, kind, seeds, way, clips
            )
            hits[model] = (outputs.argmax(-1) == targets[chosen]).mean(0)
            ways[model] = f"{kind}, learning rate {rates_text(rates)}"
        lines += difference_lines(f"accuracy of {kind}", hits, ways)
    return lines


def compare_words(
    sessions: Mapping[str, Session], rows: Sequence[dict], protocol: Callable
) -> list[dict]:
    """Score what only a model that writes can do; CLAP's lines say that it cannot.

    Arguments
    ---------
    sessions : dict
        Name -> model; two of them.
    rows : list of dict
        What the protocol reads.
    protocol : callable
        (session, rows) -> list of Score.

    Returns
    -------
    lines : list of dict
        Of each score, one line for each model.
    """
    two(sessions)
    found = {
        model: protocol(session, rows)
        for model, session in sessions.items()
        if not is_contrastive(session)
    }
    lines = [score_line(s, model=m) for m, scores in found.items() for s in scores]
    metrics = {(line["metric"], line["way"]): None for line in lines}
    for model in sessions.keys() - found.keys():
        lines += [
            score_line(Score(metric, None, way=way, note=CANNOT), model=model)
            for metric, way in metrics
        ]
    return lines
