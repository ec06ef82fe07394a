"""The benchmark's table: scores in, Markdown, CSV and JSON out."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from pengi_plugin.protocols.score import Score

COLUMNS = (
    "set",
    "protocol",
    "metric",
    "way",
    "n_clips",
    "score",
    "low",
    "high",
    "published",
    "published_by",
    "note",
)


def table_lines(
    task: str, spec: dict, scores: Sequence[Score], prompt: str
) -> list[dict]:
    """Put scores of one set beside what was published.

    Arguments
    ---------
    task : str
        Key of the set.
    spec : dict
        With ``title`` and ``published``: a list of ``metric``, ``value``, ``by``
        (the system), ``verified`` and, if only one way was published, ``way``.
    scores : list of Score
        Of the protocol.
    prompt : str
        What was asked.

    Returns
    -------
    lines : list of dict
        With ``COLUMNS`` as keys, and ``task``.

    Example
    -------
    >>> published = {"metric": "accuracy", "value": 0.9, "by": "Pengi", "verified": 0}
    >>> spec = {"title": "Tones", "published": [published]}
    >>> line = table_lines("tones", spec, [Score("accuracy", 0.5)], "what?")[0]
    >>> line["published"], line["published_by"]
    (0.9, 'Pengi (unverified)')
    """
    lines = []
    for score in scores:
        figures = score.as_dict()
        published = [
            entry
            for entry in spec.get("published") or ()
            if entry["metric"] == score.metric
            and entry.get("way", score.way) == score.way
        ]
        lines.append(
            {
                "task": task,
                "set": spec["title"],
                "protocol": prompt,
                "metric": score.metric,
                "way": score.way,
                "n_clips": score.n_clips,
                "score": figures["value"],
                "low": figures["low"],
                "high": figures["high"],
                "published": published[0]["value"] if published else None,
                "published_by": _sources(published),
                "note": score.note,
            }
        )
    return lines


def _sources(entries: list[dict]) -> str:
    """Name whose figures they are; those after the first come with their value."""
    names = [
        entry["by"] if entry.get("verified") else f"{entry['by']} (unverified)"
        for entry in entries
    ]
    others = [f"{_number(e['value'])} {n}" for e, n in zip(entries[1:], names[1:])]
    return "; ".join([*names[:1], *others])


def write_table(lines: Sequence[dict], folder: Path) -> str:
    """Write ``table.json``, ``table.csv`` and ``table.md``; return the last.

    Lines of other tasks that are in the folder's table already are kept.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "table.json"
    tasks = {line["task"] for line in lines}
    before = json.loads(path.read_text()) if path.exists() else []
    lines = [line for line in before if line["task"] not in tasks] + list(lines)
    path.write_text(json.dumps(lines, indent=1) + "\n")
    with open(folder / "table.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["task", *COLUMNS])
        writer.writeheader()
        writer.writerows(lines)
    text = markdown(lines)
    (folder / "table.md").write_text(text)
    return text


def markdown(lines: Sequence[dict]) -> str:
    """Return lines as a Markdown table.

    Example
    -------
    >>> line = {"set": "Tones", "protocol": "what?", "metric": "accuracy", "way": "",
    ...     "n_clips": 8, "score": 0.75, "low": 0.5, "high": 1.0, "published": None,
    ...     "published_by": "", "note": ""}
    >>> print(markdown([line]).splitlines()[-1])
    | Tones | what? | accuracy | 8 | 0.7500 | 0.5000 to 1.0000 |  |  |
    """
    titles = "set", "protocol", "metric", "clips", "ours", "95 % interval"
    rows = [[*titles, "published", "note"], ["---"] * 8]
    for line in lines:
        metric = f"{line['metric']}, {line['way']}" if line["way"] else line["metric"]
        interval = ""
        if line["low"] is not None:
            interval = f"{line['low']:.4f} to {line['high']:.4f}"
        published = _number(line["published"])
        if published and line["published_by"]:
            published += f" {line['published_by']}"
        rows.append(
            [
                line["set"],
                line["protocol"],
                metric,
                str(line["n_clips"]),
                _number(line["score"]) or "not computed",
                interval,
                published,
                line["note"].replace("|", "/"),
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
