"""The table at a training's end: test rows of many tasks in, lines of a table out.

Each task of each corpus is scored by its protocol, and beside the model's score
stands what each control reaches by the same protocol (``protocols.control``). A task
whose rows differ in chance level is scored in groups, and over all of them.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pengi_plugin.protocols.control import CONTROLS
from pengi_plugin.protocols.score import Score, with_unreadable
from pengi_plugin.protocols.session import Session, generated_answers
from pengi_plugin.protocols.table import score_line

logger = logging.getLogger(__name__)

#: Key of ``protocols`` that serves tasks without a protocol of their own.
DEFAULT = "default"


def score_tasks(
    session: Session,
    rows: Sequence[dict],
    protocols: Mapping[str, Mapping],
    training_rows: Iterable[dict],
    seed: int = 0,
    controls: Mapping = CONTROLS,
) -> list[dict]:
    """Ask a model about rows of several tasks; score each task beside its controls.

    Arguments
    ---------
    session : Session
        The model and where answers go.
    rows : list of dict
        With ``id``, ``wav``, ``corpus``, ``task``, ``prompt``, ``answer``,
        ``references`` (list of str) and the other fields of the manifest.
    protocols : dict
        Task -> ``protocol`` (a function of a session and rows that returns Scores
        of written answers) and ``by`` (the field that tells apart rows of different
        chance level). Either may be left out: ``"default"`` has the protocol of all
        other tasks.
    training_rows : iterable of dict
        The same fields, of what the model was trained on; gone through several times,
        never all in memory.
    seed : int
        Random seed of the controls.
    controls : dict
        Column of the table -> control; see ``protocols.control``.

    Returns
    -------
    lines : list of dict
        See ``protocols.table``. ``group`` is the corpus, the task and, for tasks with
        ``by``, the field's value; a task with several groups also has lines over
        all of them. A control that has no answer to a row of a group gets no
        figure there. A protocol that fails becomes a line with its error as
        ``note``.

    Raises
    ------
    ValueError
        If a task has no protocol.
    """
    protocol_of = {row["task"]: _protocol(row["task"], protocols) for row in rows}
    rows = list(Grouped(rows, protocols))
    training_rows = Grouped(training_rows, protocols)
    sources = {"score": generated_answers(session, rows)}
    for column, control in controls.items():
        sources[column] = control(session, rows, training_rows, seed)
    sources = {
        column: dict(zip((row["id"] for row in rows), answers, strict=True))
        for column, answers in sources.items()
    }
    lines = []
    for group, members in _members(rows).items():
        protocol = protocol_of[members[0]["task"]]
        lines += _group_lines(session, group, members, protocol, sources)
    return lines


class Grouped:
    """Rows, each with the group that it is scored in, made as they are gone through.

    Arguments
    ---------
    rows : iterable of dict
        Can be gone through more than once.
    protocols : dict
        See ``score_tasks``.
    """

    def __init__(self, rows: Iterable[dict], protocols: Mapping):
        self.rows, self.protocols = rows, protocols

    def __iter__(self) -> Iterator[dict]:
        for row in self.rows:
            by = self.protocols.get(row["task"], {}).get("by")
            yield {**row, "group": group_of(row, by)}


def group_of(row: Mapping, by: str | None = None) -> str:
    """Return the name of a row's corpus and task, and of its kind.

    Example
    -------
    >>> group_of({"task": "question_answering", "kind": "count"}, "kind")
    'question_answering, count'
    >>> group_of({"task": "captioning", "corpus": "esc50"})
    'esc50: captioning'
    """
    corpus, kind = row.get("corpus"), row.get(by) if by else None
    name = f"{corpus}: {row['task']}" if corpus else str(row["task"])
    return f"{name}, {kind}" if kind else name


def _members(rows: Sequence[dict]) -> dict[str, list[dict]]:
    """Return group -> rows, sorted; a task with several groups comes first, whole."""
    groups, tasks = defaultdict(list), defaultdict(list)
    for row in rows:
        groups[row["group"]].append(row)
        tasks[group_of(row)].append(row)
    several = {
        task: members
        for task, members in tasks.items()
        if len({row["group"] for row in members}) > 1
    }
    return dict(sorted((groups | several).items()))


def _protocol(task: str, protocols: Mapping):
    entry = {**protocols.get(DEFAULT, {}), **protocols.get(task, {})}
    if entry.get("protocol") is None:
        raise ValueError(
            f"Task {task!r} has no protocol and there is no {DEFAULT!r} one; "
            f"protocols are given for {sorted(protocols)}."
        )
    return entry["protocol"]


def _group_lines(session, group, rows, protocol, sources) -> list[dict]:
    """Return the lines of one group: a line per score, a column per source."""
    columns = {}
    for column, answers in sources.items():
        if all(answers[row["id"]] is not None for row in rows):
            columns[column] = _scores(session, group, rows, protocol, answers, column)
    lines = []
    for score in columns.pop("score"):
        key = score.metric, score.way
        controls = {
            column: next((s.value for s in scores if (s.metric, s.way) == key), None)
            for column, scores in columns.items()
        }
        with_unreadable(score, session.n_unreadable(rows))
        lines.append(score_line(score, group=group, **controls))
    return lines


def _scores(session, group, rows, protocol, answers, column) -> list[Score]:
    """Return what a protocol says of answers that are known: ID -> text."""
    folder = Path(re.sub(r"[^\w-]+", "_", group)) / column
    known = session.with_answers(
        lambda asked: [answers[row["id"]] for row in asked], folder
    )
    try:
        return protocol(known, rows)
    except Exception as error:  # the other groups are scored all the same
        logger.exception("%s could not be scored (%s).", group, column)
        return [Score("", None, n=len(rows), note=f"{type(error).__name__}: {error}")]
