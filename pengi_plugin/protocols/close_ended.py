"""Closed sets of classes: rows and class names in, accuracies, mAP and F1 out.

Everything that Pengi says is text (Deshmukh et al., NeurIPS 2023, section 4). A
generated answer becomes a class by the nearest class name in the text encoder's
space; the second way asks the LM how likely it finds each name. Where several
classes are right at once, the similarities themselves are the scores.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pengi_plugin.metrics.bootstrap import N_RESAMPLES, bootstrap_statistic
from pengi_plugin.metrics.classification import (
    confusion_matrix,
    macro_accuracy,
    mean_average_precision,
    multilabel_f1,
)
from pengi_plugin.metrics.text import part_of
from pengi_plugin.protocols.answer_log import rank_and_world
from pengi_plugin.protocols.confusion import write_confusion
from pengi_plugin.protocols.score import Score, mean_score
from pengi_plugin.protocols.session import (
    Session,
    answer_likelihoods,
    contrastive_scores,
    embed_answers,
    generated_answers,
    says_something,
)

#: Way -> does it go through the trained projection of prompts?
SIMILARITY_WAYS = {"similarity": False, "projected similarity": True}
WAYS = (*SIMILARITY_WAYS, "likelihood")
#: The way of a CLAP: the cosine of the clip and the class name.
CONTRASTIVE = "contrastive"

#: mAP is computed anew for every resample, so it gets fewer.
N_MAP_RESAMPLES = 200


def class_texts(classes: Sequence[str], form: str = "{label}") -> list[str]:
    """Write class names the way they stand in an answer.

    Arguments
    ---------
    classes : list of str
        Names, with underscores or spaces.
    form : str
        Where the name goes is ``{label}``.

    Example
    -------
    >>> class_texts(["dog", "can_opening"], "a sound of {label}")
    ['a sound of dog', 'a sound of can opening']
    """
    if "{label}" not in form:
        raise ValueError(f"A class form needs '{{label}}' in it; got {form!r}.")
    return [form.replace("{label}", name.replace("_", " ")) for name in classes]


def similarity_scores(
    model, answers: Sequence[str], classes: Sequence[str], projected: bool
) -> np.ndarray:
    """Return the cosine of each answer and each class name [answer, class].

    An answer without a letter or digit is no answer: its scores are NaN.
    """
    points = model.embed_texts(list(classes), projected).float().cpu().numpy()
    return embed_answers(model, answers, projected) @ points.T


def single_label(
    session: Session,
    rows: Sequence[dict],
    classes: Sequence[str] | None = None,
    class_form: str = "{label}",
    ways: Sequence[str] = WAYS,
    part: int | None = None,
) -> list[Score]:
    """Score clips that have one class each.

    Writes a confusion matrix per way into the session's folder.

    Arguments
    ---------
    session : Session
        The model and where answers go.
    rows : list of dict
        With ``id``, ``wav``, ``prompt`` and ``label`` (one of ``classes``).
    classes : list of str
        All class names; None for those that occur in the rows.
    class_form : str
        See ``class_texts``.
    ways : list of str
        Of ``WAYS``, or ``contrastive`` for a CLAP.
    part : int
        Which comma-separated part of an answer holds the class; None for all of it.

    Returns
    -------
    scores : list of Score
        Accuracy and macro accuracy for each way.
    """
    classes = classes or occurring_classes(rows)
    labels = class_targets(rows, classes)
    scores = []
    for way in ways:
        values = class_scores(session, rows, classes, class_form, way, part)
        predictions = best_class(values)
        unanswered = int((predictions < 0).sum())
        note = f"{unanswered} empty answers count as wrong" if unanswered else ""
        scores.append(mean_score("accuracy", labels == predictions, way, note))
        scores.append(_macro_accuracy(labels, predictions, way, note))
        counts = confusion_matrix(labels, predictions, len(classes))
        if rank_and_world()[0] == 0:
            write_confusion(counts, classes, Path(session.folder), way)
    return scores


def class_scores(
    session: Session, rows, classes, class_form: str, way: str, part: int | None = None
) -> np.ndarray:
    """Return one score per row and class by one of ``WAYS`` [row, class]."""
    texts = class_texts(classes, class_form)
    if way == CONTRASTIVE:
        return contrastive_scores(session, rows, texts)
    if way not in WAYS:
        known = ", ".join((*WAYS, CONTRASTIVE))
        raise ValueError(f"Unknown way {way!r}; known are {known}.")
    if way == "likelihood":
        return answer_likelihoods(session, rows, texts)
    answers = generated_answers(session, rows)
    if part is not None:
        answers = [part_of(text, part) for text in answers]
    projected = SIMILARITY_WAYS[way]
    return similarity_scores(session.model, answers, texts, projected)


def occurring_classes(rows: Sequence[dict]) -> list[str]:
    """Return the class names that occur in rows, sorted."""
    found = {row["label"] for row in rows if "label" in row}
    return sorted(found.union(*(row.get("labels", ()) for row in rows)))


def class_targets(rows: Sequence[dict], classes: Sequence[str]) -> np.ndarray:
    """Return the right classes as indices; underscores and case do not count.

    Arguments
    ---------
    rows : list of dict
        Each with ``label`` (one class) or each with ``labels`` (several).
    classes : list of str
        All class names.

    Returns
    -------
    targets : numpy.ndarray
        Class indices [row], or 1 where a class is present [row, class].

    Raises
    ------
    ValueError
        If a label is none of the classes.

    Example
    -------
    >>> rows = [{"id": "1", "labels": ["dog", "Rain"]}]
    >>> class_targets(rows, ["rain", "wind", "dog"])
    array([[1, 0, 1]])
    """
    known = {_plain(name): index for index, name in enumerate(classes)}

    def index_of(row: dict, label: str) -> int:
        if _plain(label) not in known:
            raise ValueError(
                f"Clip {row['id']!r} has the label {label!r}, which is none of the "
                f"{len(classes)} classes; check the class names of this set."
            )
        return known[_plain(label)]

    if "label" in rows[0]:
        return np.array([index_of(row, row["label"]) for row in rows])
    targets = np.zeros((len(rows), len(classes)), dtype=int)
    for line, row in zip(targets, rows, strict=True):
        line[[index_of(row, label) for label in row["labels"]]] = 1
    return targets


def _plain(name: str) -> str:
    return name.replace("_", " ").lower().strip()


def best_class(values: np.ndarray) -> np.ndarray:
    """Return the class with the best score per row [row]; -1 without any score."""
    predictions = np.where(np.isnan(values), -np.inf, values).argmax(axis=1)
    return np.where(np.isnan(values).all(axis=1), -1, predictions)


def _macro_accuracy(labels, predictions, way: str, note: str) -> Score:
    low, high = share_interval(
        lambda clips: macro_accuracy(labels[clips], predictions[clips]), len(labels)
    )
    value = macro_accuracy(labels, predictions)
    return Score("macro accuracy", value, low, high, len(labels), way, note)


def share_interval(statistic, n_clips: int, n_resamples: int = N_RESAMPLES) -> tuple:
    """Return the 95 % interval of a statistic that lies between 0 and 1."""
    low, high = bootstrap_statistic(statistic, n_clips, n_resamples).clip(0.0, 1.0)
    return float(low), float(high)


def multi_label(
    session: Session,
    rows: Sequence[dict],
    classes: Sequence[str] | None = None,
    class_form: str = "{label}",
    ways: Sequence[str] = WAYS,
) -> list[Score]:
    """Score clips that have several classes each.

    Arguments
    ---------
    session : Session
        The model and where answers go.
    rows : list of dict
        With ``id``, ``wav``, ``prompt`` and ``labels`` (list of str).
    classes : list of str
        All class names; None for those that occur in the rows.
    class_form : str
        See ``class_texts``.
    ways : list of str
        Of ``WAYS``, or ``contrastive`` for a CLAP.

    Returns
    -------
    scores : list of Score
        mAP for each way; micro and macro F1 of the answers' parts for the ways
        by similarity: an answer is a list with commas, and each part is the class
        whose name is nearest.
    """
    classes = classes or occurring_classes(rows)
    labels = class_targets(rows, classes)
    scores = []
    for way in ways:
        values = class_scores(session, rows, classes, class_form, way)
        values = np.nan_to_num(values, nan=-1.0)  # no answer: below all cosines
        scores.append(_map(labels, values, way))
        if way in SIMILARITY_WAYS:
            predicted = _predicted_sets(session, rows, classes, class_form, way)
            for average in ("micro", "macro"):
                scores.append(_f1(labels, predicted, average, way))
    return scores


def _map(labels: np.ndarray, values: np.ndarray, way: str) -> Score:
    def weighted(clips: np.ndarray) -> float:
        weights = np.bincount(clips, minlength=len(labels))
        return mean_average_precision(labels, values, weights)

    low, high = share_interval(weighted, len(labels), N_MAP_RESAMPLES)
    value = mean_average_precision(labels, values)
    return Score("mAP", value, low, high, len(labels), way)


def _f1(labels: np.ndarray, predicted: np.ndarray, average: str, way: str) -> Score:
    def drawn(clips: np.ndarray) -> float:
        return multilabel_f1(labels[clips], predicted[clips], average)

    low, high = share_interval(drawn, len(labels), N_MAP_RESAMPLES)
    value = multilabel_f1(labels, predicted, average)
    return Score(f"{average} F1", value, low, high, len(labels), way)


def _predicted_sets(session, rows, classes, class_form, way) -> np.ndarray:
    """Return 1 where a part of an answer is nearest to a class [row, class]."""
    parts = [
        [part.strip() for part in answer.split(",") if says_something(part)]
        for answer in generated_answers(session, rows)
    ]
    predicted = np.zeros((len(rows), len(classes)), dtype=int)
    distinct = sorted({part for several in parts for part in several})
    if not distinct:
        return predicted
    texts = class_texts(classes, class_form)
    values = similarity_scores(session.model, distinct, texts, SIMILARITY_WAYS[way])
    nearest = dict(zip(distinct, best_class(values), strict=True))
    for index, several in enumerate(parts):
        predicted[index, [nearest[part] for part in several]] = 1
    return predicted
