"""One set of a benchmark: its entry in the YAML and its rows in, lines of a table out.

An entry has ``title``; ``protocol``, a function of a session and rows that returns
Scores; ``fields``, ``where`` and ``prompt`` (see ``rows.entry_rows``); ``published``
(see ``table.published_columns``); ``needs``, if given, the fields that the answers of
the rows' task must hold; ``controls``: False for a protocol that asks the model
nothing.

Beside the model's score stands what two controls reach by the same protocol: always
the commonest right answer of the rows that are scored, and the model's answers about
other clips of the set.
"""

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from pengi_plugin.protocols.control import swap_clips
from pengi_plugin.protocols.rows import entry_rows, prompt_of
from pengi_plugin.protocols.score import Score, with_unreadable
from pengi_plugin.protocols.session import Session, is_contrastive
from pengi_plugin.protocols.table import published_columns, score_line
from pengi_plugin.tasks import TASKS, Template

#: Random seed of the order in which clips are exchanged.
SEED = 0


def score_entry(
    name: str,
    entry: Mapping,
    rows: Iterable[Mapping],
    session: Session,
    templates: Mapping[str, Template] = TASKS,
) -> list[dict]:
    """Score a model on one set, beside its controls and what was published.

    Arguments
    ---------
    name : str
        Key of the set.
    entry : dict
        See the module's description.
    rows : list of dict
        Of the set's manifests, all of them.
    session : Session
        The model and where answers go.
    templates : dict
        Task -> Template, of whose prompts an entry without one makes use.

    Returns
    -------
    lines : list of dict
        See ``protocols.table``; the prompt is given with its ``{field}``s.
    """
    rows = list(rows)
    asked = entry_rows(rows, entry, templates)
    ids = {row["id"] for row in asked}
    chosen = [row for row in rows if row["id"] in ids]
    check_needs(chosen, entry, templates)
    prompts = {prompt_of(row, entry, templates) for row in chosen}
    scores = entry["protocol"](session, asked)
    controls = {}
    if entry.get("controls", True):
        controls = control_scores(session, asked, entry["protocol"])
    n_unreadable = session.n_unreadable(asked)
    lines = []
    for score in scores:
        with_unreadable(score, n_unreadable)
        columns = {
            "set": name,
            "group": entry["title"],
            "prompt": "; ".join(sorted(prompts)),
            **{column: value_of(score, found) for column, found in controls.items()},
            **published_columns(score, entry.get("published") or ()),
        }
        lines.append(score_line(score, **columns))
    return lines


def check_needs(
    rows: Iterable[Mapping], entry: Mapping, templates: Mapping[str, Template]
) -> None:
    """Raise ValueError if the answers of the rows' task lack what an entry scores."""
    for task in sorted({row["task"] for row in rows}):
        if task not in templates:
            continue
        missing = set(entry.get("needs") or ()) - templates[task].fields()
        if missing:
            raise ValueError(
                f"{entry['title']} scores {', '.join(sorted(missing))}, which answers "
                f"of {task} do not hold ({templates[task].answer!r}). For a model that "
                "was trained with a fuller template, give that under tasks: in the "
                "YAML."
            )


def control_scores(
    session: Session, rows: Sequence[dict], protocol: Callable
) -> dict[str, list[Score]]:
    """Return column of the table -> what a protocol says of that control.

    A set of one clip has none of other clips; a CLAP, which gives no answers, has none
    of the commonest one.
    """
    found = {}
    if not is_contrastive(session):
        answer = commonest_answer(rows, getattr(protocol, "keywords", {}))
        always = session.with_answers(lambda asked: [answer] * len(asked), "commonest")
        found["commonest"] = by_answers(protocol)(always, rows)
    swapped = swap_clips([{**row, "group": ""} for row in rows], SEED)
    if swapped:
        found["shuffled"] = protocol(session.beside("shuffled"), swapped)
    return found


def by_answers(protocol: Callable) -> Callable:
    """Return a protocol without the ways that need more than answers."""
    ways = inspect.signature(protocol).parameters.get("ways")
    if ways is None:
        return protocol
    return partial(protocol, ways=[w for w in ways.default if "likelihood" not in w])


def commonest_answer(rows: Sequence[Mapping], options: Mapping) -> str:
    """Return the commonest right answer to rows of a protocol, as a model would say it.

    Arguments
    ---------
    rows : list of dict
        See ``rows.entry_rows``.
    options : dict
        Of the protocol: ``class_form``, ``after`` and ``word`` stand in answers.

    Example
    -------
    >>> rows = [{"label": "dog"}, {"label": "can_opening"}, {"label": "dog"}]
    >>> commonest_answer(rows, {"class_form": "a {label}"})
    'a dog'
    >>> commonest_answer([{"number": 60}], {"word": "pitch"})
    'pitch 60'
    """
    counts = Counter(text for row in rows for text in _right_answers(row, options))
    return counts.most_common(1)[0][0] if counts else ""


def _right_answers(row: Mapping, options: Mapping) -> list[str]:
    form = options.get("class_form", "{label}")

    def written(label: str) -> str:
        return form.replace("{label}", str(label).replace("_", " "))

    if "label" in row:
        return [written(row["label"])]
    if "labels" in row:
        several = ", ".join(map(written, row["labels"]))
        return [f"{options.get('after', '')} {several}".strip()]
    if "number" in row:
        return [f"{options.get('word', '')} {row['number']}".strip()]
    return list(row.get("references", [row.get("answer", "")]))


def value_of(score: Score, found: Sequence[Score]) -> float | None:
    """Return the value of the same metric and way.

    The commonest answer has no likelihood; it is the same class by every way.
    """
    values = {(other.metric, other.way): other.value for other in found}
    by_metric = {other.metric: other.value for other in found[::-1]}
    if "likelihood" not in score.way:
        return values.get((score.metric, score.way))
    return values.get((score.metric, score.way), by_metric.get(score.metric))


def unscored_line(name: str, entry: Mapping, note: str) -> dict:
    """Return the line of a set that was not scored, with the reason."""
    return score_line(Score("", None, note=note), set=name, group=entry["title"])
