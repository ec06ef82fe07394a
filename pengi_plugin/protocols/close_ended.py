"""Closed sets of classes: rows and class names in, accuracies, mAP and F1 out.

Everything that Pengi says is text (Deshmukh et al., NeurIPS 2023, section 4). A
generated answer becomes a class by the nearest class name in the text encoder's
space; the second way asks the LM how likely it finds each name: the sum over its
tokens, their mean, or the sum less that about a silent clip (see
``inference.likelihood``). Where several classes are right at once, the similarities or
likelihoods themselves are the scores: clips are ranked for each class, so that neither
a name's length nor its likelihood about silence would change anything there.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pengi_plugin.metrics.classification import (
    confusion_matrix,
    macro_accuracy,
    mean_average_precision,
    multilabel_f1,
)
from pengi_plugin.metrics.text import part_of
from pengi_plugin.protocols.answer_log import rank_and_world
from pengi_plugin.protocols.confusion import write_confusion
from pengi_plugin.protocols.embeddings import (
    contrastive_scores,
    embed_answers,
    says_something,
)
from pengi_plugin.protocols.likelihoods import normalized_likelihoods
from pengi_plugin.protocols.score import Score, mean_score, share_score
from pengi_plugin.protocols.session import Session, generated_answers

#: Way -> does it go through the trained projection of prompts?
SIMILARITY_WAYS = {"similarity": False, "projected similarity": True}
#: Way -> how likelihoods are normalized.
LIKELIHOOD_WAYS = {
    "likelihood": "none",
    "likelihood per token": "token",
    "prior-corrected likelihood": "prior",
}
WAYS = (*SIMILARITY_WAYS, *LIKELIHOOD_WAYS)
MULTI_LABEL_WAYS = (*SIMILARITY_WAYS, "likelihood")
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
    end: str | None = None,
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
    end : str
        What ends a name whose likelihood is computed; None: the end mark, or nothing
        where ``part`` says that answers have more parts.

    Returns
    -------
    scores : list of Score
        Accuracy and macro accuracy for each way.
    """
    classes = classes or occurring_classes(rows)
    labels = class_targets(rows, classes)
    clips = [row["wav"] for row in rows]
    scores = []
    for way in ways:
        values = class_scores(session, rows, classes, class_form, way, part, end)
        predictions = best_class(values)
        unanswered = int((predictions < 0).sum())
        note = f"{unanswered} empty answers count as wrong" if unanswered else ""
        right = labels == predictions
        scores.append(mean_score("accuracy", right, way, note, clips))
        scores.append(_macro_accuracy(labels, predictions, clips, way, note))
        counts = confusion_matrix(labels, predictions, len(classes))
        if rank_and_world()[0] == 0:
            write_confusion(counts, classes, Path(session.folder), way)
    return scores


def class_scores(
    session: Session,
    rows,
    classes,
    class_form: str,
    way: str,
    part: int | None = None,
    end: str | None = None,
) -> np.ndarray:
    """Return one score per row and class by one of ``WAYS`` [row, class]."""
    texts = class_texts(classes, class_form)
    if way == CONTRASTIVE:
        return contrastive_scores(session, rows, texts)
    if way not in WAYS:
        known = ", ".join((*WAYS, CONTRASTIVE))
        raise ValueError(f"Unknown way {way!r}; known are {known}.")
    if way in LIKELIHOOD_WAYS:
        if part:
            raise ValueError(
                f"The likelihood of part {part} of an answer depends on the parts "
                "before it; leave the likelihoods out of the ways."
            )
        if part == 0 and end is None:
            end = ""
        normalize = LIKELIHOOD_WAYS[way]
        return normalized_likelihoods(session, rows, texts, normalize, end)
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


def _macro_accuracy(labels, predictions, clips, way: str, note: str) -> Score:
    def drawn(rows: np.ndarray) -> float:
        return macro_accuracy(labels[rows], predictions[rows])

    return share_score("macro accuracy", drawn, clips, way, note)


def multi_label(
    session: Session,
    rows: Sequence[dict],
    classes: Sequence[str] | None = None,
    class_form: str = "{label}",
    ways: Sequence[str] = MULTI_LABEL_WAYS,
    after: str = "",
    nothing: str = "",
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
        Of ``MULTI_LABEL_WAYS``, or ``contrastive`` for a CLAP. Of likelihoods, that of
        the name as the first of an answer, whose end mark is left out, as others may
        follow.
    after : str
        Words of an answer behind which the classes stand, such as ``having qualities
        like``; an answer without them has none. Likelihoods do not know it.
    nothing : str
        What an answer says where there is none of the classes, such as ``none``.

    Returns
    -------
    scores : list of Score
        mAP for each way, over the classes that a clip has, as the precision of others
        is not defined: the note says how many of the list those are. Micro and macro F1
        of the answers' parts for the ways by similarity: an answer is a list with
        commas, and each part is the class whose name is nearest. Class names with
        commas of their own are kept whole.

    Raises
    ------
    ValueError
        If likelihoods are asked for of answers of which a part counts.
    """
    if after and set(ways) & set(LIKELIHOOD_WAYS):
        raise ValueError(
            f"The likelihood of what stands behind {after!r} depends on the words "
            "before it; leave 'likelihood' out of the ways."
        )
    known = classes or occurring_classes(rows)
    labels = class_targets(rows, known)
    clips = [row["wav"] for row in rows]
    answers = None
    if set(ways) & set(SIMILARITY_WAYS):
        answers = [text_after(text, after) for text in generated_answers(session, rows)]
        answers = ["" if text == nothing else text for text in answers]
    note = f"over the {len(known)} classes that occur in these clips"
    if classes is not None:
        note = classes_note(labels)
    scores = []
    for way in ways:
        texts = class_texts(known, class_form)
        if way in SIMILARITY_WAYS:
            projected = SIMILARITY_WAYS[way]
            values = similarity_scores(session.model, answers, texts, projected)
        else:
            values = class_scores(session, rows, known, class_form, way, end="")
        # No answer: below all others.
        values = np.nan_to_num(values, nan=np.finfo(np.float32).min)
        scores.append(_map(labels, values, clips, way, note))
        if way in SIMILARITY_WAYS:
            predicted = _predicted_sets(session, answers, texts, way)
            for average in ("micro", "macro"):
                scores.append(_f1(labels, predicted, average, clips, way))
    return scores


def classes_note(labels: np.ndarray) -> str:
    """Return how many classes of a full list have clips [clip, class].

    Example
    -------
    >>> classes_note(np.array([[1, 0, 0], [1, 1, 0]]))
    '2 of 3 classes have clips; mAP is over these'
    """
    n_class, n_present = labels.shape[1], int(labels.any(0).sum())
    over = "" if n_present == n_class else "; mAP is over these"
    return f"{n_present} of {n_class} classes have clips{over}"


def text_after(answer: str, words: str) -> str:
    """Return what follows some words of an answer, all of it for no words.

    Example
    -------
    >>> text_after("pitch 60, and having qualities like bright, dark", "like")
    'bright, dark'
    """
    if not words:
        return answer
    found = re.search(rf"\b{re.escape(words)}\b(.*)", answer, re.IGNORECASE | re.DOTALL)
    return found.group(1).strip() if found else ""


def _map(labels, values, clips, way: str, note: str) -> Score:
    def weighted(rows: np.ndarray) -> float:
        weights = np.bincount(rows, minlength=len(labels))
        if not labels[rows].any() and labels.any():
            return np.nan  # a resample of clips that have none of the classes
        return mean_average_precision(labels, values, weights)

    return share_score("mAP", weighted, clips, way, note, N_MAP_RESAMPLES)


def _f1(labels, predicted, average: str, clips, way: str) -> Score:
    def drawn(rows: np.ndarray) -> float:
        return multilabel_f1(labels[rows], predicted[rows], average)

    metric = f"{average} F1"
    return share_score(metric, drawn, clips, way, n_resamples=N_MAP_RESAMPLES)


def list_parts(answer: str, names: Sequence[str]) -> list[str]:
    """Divide a list at its commas, but not the names that have commas themselves.

    Example
    -------
    >>> list_parts("truck, air horn, truck horn, car", ["Air horn, truck horn", "Car"])
    ['truck', 'air horn, truck horn', 'car']
    """
    whole = sorted({name for name in names if "," in name}, key=len, reverse=True)
    kept = [rf"(?<!\w){re.escape(name)}(?!\w)" for name in whole]
    pieces = re.findall("|".join([*kept, "[^,]", ","]), answer, re.IGNORECASE)
    parts = [""]
    for piece in pieces:
        if piece == ",":
            parts.append("")
        else:
            parts[-1] += piece
    return [part.strip() for part in parts if says_something(part)]


def _predicted_sets(session, answers, texts, way) -> np.ndarray:
    """Return 1 where a part of an answer is nearest to a class [row, class]."""
    parts = [list_parts(answer, texts) for answer in answers]
    predicted = np.zeros((len(answers), len(texts)), dtype=int)
    distinct = sorted({part for several in parts for part in several})
    if not distinct:
        return predicted
    values = similarity_scores(session.model, distinct, texts, SIMILARITY_WAYS[way])
    nearest = dict(zip(distinct, best_class(values), strict=True))
    for index, several in enumerate(parts):
        predicted[index, [nearest[part] for part in several]] = 1
    return predicted
