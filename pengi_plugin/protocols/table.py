"""The table of results, of a training or a benchmark: lines in, three files out."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pengi_plugin.protocols.score import Score
from pengi_plugin.storage.atomic import write_file

#: Keys of a line, in the order of the files. A line may lack any but ``group``.
COLUMNS = (
    *("set", "group", "prompt", "settings", "metric", "way", "n"),
    *("score", "low", "high", "commonest", "shuffled", "nearest"),
    *("published", "published_by", "note"),
)


def score_line(score: Score, **columns) -> dict:
    """Return a line of a table.

    Arguments
    ---------
    score : Score
        The model's.
    **columns : dict
        ``group`` (what was scored) and any other of ``COLUMNS``.

    Returns
    -------
    line : dict
        Plain values; NaN and infinity become None.

    Example
    -------
    >>> line = score_line(Score("accuracy", 0.5, n=1), group="tones", shuffled=0.25)
    >>> line["group"], line["score"], line["low"], line["shuffled"]
    ('tones', 0.5, None, 0.25)
    """
    line = {
        **columns,
        "metric": score.metric,
        "way": score.way,
        "n": score.n,
        "score": score.value,
        "low": score.low,
        "high": score.high,
        "note": score.note,
    }
    return _plain_line(line)


def published_columns(score: Score, published: Sequence[Mapping] | str) -> dict:
    """Return the columns ``published`` and ``published_by`` that belong to a score.

    Arguments
    ---------
    score : Score
        Ours.
    published : list of dict
        With ``metric``, ``value``, ``by`` (the system), ``verified`` and, if only
        one way was published, ``way``. A text, such as ``none confirmed``, in place of
        figures.

    Returns
    -------
    columns : dict
        The first figure and its system; further ones follow with their values.

    Example
    -------
    >>> figure = {"metric": "accuracy", "value": 0.9, "by": "Pengi", "verified": False}
    >>> published_columns(Score("accuracy", 0.5), [figure])
    {'published': 0.9, 'published_by': 'Pengi (unverified)'}
    """
    if isinstance(published, str):
        return {"published_by": published}
    figures = [
        figure
        for figure in published
        if figure["metric"] == score.metric
        and figure.get("way", score.way) == score.way
    ]
    if not figures:
        return {}
    names = [
        figure["by"] if figure.get("verified") else f"{figure['by']} (unverified)"
        for figure in figures
    ]
    others = [f"{_number(f['value'])} {n}" for f, n in zip(figures[1:], names[1:])]
    return {
        "published": figures[0]["value"],
        "published_by": "; ".join([names[0], *others]),
    }


def write_table(lines: Sequence[Mapping], folder: Path, name: str = "table") -> str:
    """Write ``NAME.json``, ``NAME.csv`` and ``NAME.md``, each whole or not at all.

    Arguments
    ---------
    lines : list of dict
        See ``score_line``.
    folder : Path
        Where to; made if it is not there.
    name : str
        Of the files, without ending.

    Returns
    -------
    text : str
        What is in ``NAME.md``; see ``markdown``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lines = [_plain_line(line) for line in lines]
    found = {key for line in lines for key in line}
    columns = [key for key in COLUMNS if key in found] + sorted(found - {*COLUMNS})
    rows = io.StringIO()
    writer = csv.DictWriter(rows, columns or COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    text = markdown(lines)
    write_file(folder / f"{name}.json", json.dumps(lines, indent=1) + "\n")
    write_file(folder / f"{name}.csv", rows.getvalue())
    write_file(folder / f"{name}.md", text)
    return text


def with_earlier(
    lines: Sequence[Mapping], folder: Path, name: str = "table"
) -> list[Mapping]:
    """Return the lines of other sets that a folder's table has, then these.

    Arguments
    ---------
    lines : list of dict
        With ``set``.
    folder : Path
        Where ``write_table`` wrote.
    name : str
        Of the files.
    """
    path = Path(folder) / f"{name}.json"
    before = json.loads(path.read_text()) if path.exists() else []
    new = {line["set"] for line in lines}
    return [line for line in before if line.get("set") not in new] + list(lines)


def markdown(lines: Sequence[Mapping]) -> str:
    """Return lines as a Markdown table, with the columns that some line has.

    Example
    -------
    >>> line = score_line(Score("accuracy", 0.75, 0.5, 1.0, 8), group="tones")
    >>> print(markdown([line]))
    | set | metric | n | score | 95 % interval |
    |---|---|---|---|---|
    | tones | accuracy | 8 | 0.7500 | 0.5000 to 1.0000 |
    <BLANKLINE>
    """
    table = {title: [cell(line) for line in lines] for title, cell in _CELLS.items()}
    table = {
        title: column
        for title, column in table.items()
        if title in _ALWAYS or any(column)
    }
    rows = [list(table), *zip(*table.values())]
    text = [f"| {' | '.join(map(_one_cell, row))} |\n" for row in rows]
    return "".join([text[0], "|" + "---|" * len(table) + "\n", *text[1:]])


def _metric(line: Mapping) -> str:
    return ", ".join(filter(None, (line.get("metric"), line.get("way"))))


def _score(line: Mapping) -> str:
    return _number(line.get("score")) or "not computed"


def _interval(line: Mapping) -> str:
    low, high = line.get("low"), line.get("high")
    return "" if low is None or high is None else f"{_number(low)} to {_number(high)}"


def _published(line: Mapping) -> str:
    figure = _number(line.get("published"))
    return f"{figure} {line.get('published_by') or ''}".strip()


#: Title of a printed column -> function of a line that returns the cell's text.
_CELLS = {
    "set": lambda line: str(line.get("group") or ""),
    "prompt": lambda line: str(line.get("prompt") or ""),
    "settings": lambda line: str(line.get("settings") or ""),
    "metric": _metric,
    "n": lambda line: str(line.get("n", "")),
    "score": _score,
    "95 % interval": _interval,
    "commonest answer": lambda line: _number(line.get("commonest")),
    "shuffled clips": lambda line: _number(line.get("shuffled")),
    "nearest clip": lambda line: _number(line.get("nearest")),
    "published": _published,
    "note": lambda line: str(line.get("note") or ""),
}
_ALWAYS = ("set", "metric", "n", "score")


def _one_cell(text: str) -> str:
    """Keep a text inside its cell: no line break, and no bar that ends the cell."""
    return " ".join(text.split()).replace("|", r"\|")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _plain_line(line: Mapping) -> dict:
    """Return values that JSON holds; what is not a finite number becomes None."""
    return {key: _plain(value) for key, value in line.items()}


def _plain(value):
    value = value.item() if isinstance(value, np.generic) else value
    is_number = isinstance(value, float)
    return None if is_number and not math.isfinite(value) else value
