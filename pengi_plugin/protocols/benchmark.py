"""One set of a benchmark: its entry in the YAML and its rows in, lines of a table out.

An entry has ``title``; ``protocol``, a function of a session and rows that returns
Scores; ``fields``, ``where`` and ``prompt`` (see ``rows.entry_rows``); ``published``
(see ``table.published_columns``).
"""

from collections.abc import Iterable, Mapping

from pengi_plugin.protocols.rows import entry_rows, prompt_of
from pengi_plugin.protocols.score import Score
from pengi_plugin.protocols.session import Session
from pengi_plugin.protocols.table import published_columns, score_line
from pengi_plugin.tasks import TASKS, Template


def score_entry(
    name: str,
    entry: Mapping,
    rows: Iterable[Mapping],
    session: Session,
    templates: Mapping[str, Template] = TASKS,
) -> list[dict]:
    """Score a model on one set, beside what was published.

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
    prompts = {prompt_of(row, entry, templates) for row in rows if row["id"] in ids}
    return [
        score_line(
            score,
            set=name,
            group=entry["title"],
            prompt="; ".join(sorted(prompts)),
            **published_columns(score, entry.get("published") or ()),
        )
        for score in entry["protocol"](session, asked)
    ]


def unscored_line(name: str, entry: Mapping, note: str) -> dict:
    """Return the line of a set that was not scored, with the reason."""
    return score_line(Score("", None, note=note), set=name, group=entry["title"])
