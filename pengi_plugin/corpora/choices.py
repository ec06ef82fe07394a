"""Rows of questions with several options, as sets of multiple choice have them."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from pengi_plugin.data.preparation import Clip

logger = logging.getLogger(__name__)


def choice_clips(items: Iterable[Mapping], title: str) -> list[Clip]:
    """Return a clip of the test split for each question.

    Arguments
    ---------
    items : iterable of dict
        With ``name``, ``path``, ``question``, ``choices``, ``answer`` (a choice's
        text), ``kind`` (of question, scored apart) and, if known, ``source``; further
        keys become fields of the row. One without an answer among its choices cannot
        be scored: it is left out and counted.
    title : str
        Of the corpus, for the message.
    """
    clips, unanswered = [], []
    for item in items:
        item = dict(item)
        name, path = str(item.pop("name")), item.pop("path")
        source = item.pop("source", "")
        if item["answer"] not in item["choices"]:
            unanswered.append(name)
            continue
        row = {"task": "question_answering", **item}
        clips.append(Clip(name, "test", path, {"question": row}, source))
    if unanswered:
        logger.warning(
            "%s: the answer to %d questions is none of their choices; they are left "
            "out: %s.",
            *(title, len(unanswered), ", ".join(unanswered[:3])),
        )
    return clips


def file_stem(path: str) -> str:
    """Return a file's name without folders and ending.

    Example
    -------
    >>> file_stem("./audio/qx_00-01.wav")
    'qx_00-01'
    """
    return Path(path).stem
