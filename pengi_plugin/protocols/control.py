"""Answers in, one table out: each task's score beside two controls.

A model that ignores the sound can still be right: by giving the commonest answer,
or by what the prompt alone tells. So each score stands beside that of always giving
the commonest training answer, and that of the same model asked about other clips
of the same group.
"""

import csv
import io
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

Row = Mapping[str, object]


#: Task -> the field of its rows that tells apart rows of different chance levels.
DETAILS = {"question_answering": "question_kind", "sound_events": "clip_kind"}


def group_of(row: Row) -> str:
    """Return the group that a manifest row is scored in: its corpus and task, or finer.

    Example
    -------
    >>> group_of({"task": "question_answering", "question_kind": "count"})
    'question_answering, count'
    >>> group_of({"task": "captioning", "corpus": "esc50"})
    'esc50: captioning'
    """
    corpus, detail = row.get("corpus"), row.get(DETAILS.get(row["task"]))
    name = f"{row['task']}, {detail}" if detail else str(row["task"])
    return f"{corpus}: {name}" if corpus else name


def shuffle_clips(
    manifest: Mapping[str, Row], group: Callable[[Row], str] = group_of, seed: int = 0
) -> dict[str, dict]:
    """Give each row the clip of another row of its group.

    Arguments
    ---------
    manifest : dict
        ID -> row with ``wav`` and ``duration``.
    group : callable
        Row -> name of its group.
    seed : int
        Of the permutation.

    Returns
    -------
    shuffled : dict
        The same IDs and words; a row that is alone in its group keeps its clip.

    Example
    -------
    >>> rows = {n: {"task": "captioning", "wav": n, "duration": 1.0} for n in "ab"}
    >>> {n: row["wav"] for n, row in shuffle_clips(rows).items()}
    {'a': 'b', 'b': 'a'}
    """
    groups = defaultdict(list)
    for key, row in manifest.items():
        groups[group(row)].append(key)
    shuffled = {}
    generator = random.Random(seed)
    for keys in groups.values():
        order = generator.sample(keys, len(keys))
        for key, other in zip(order, order[1:] + order[:1]):
            clip = {name: manifest[other][name] for name in ("wav", "duration")}
            shuffled[key] = {**manifest[key], **clip}
    return {key: shuffled[key] for key in manifest}


def commonest_answers(groups: Sequence[str], answers: Sequence[str]) -> dict[str, str]:
    """Return the commonest answer of each group.

    Example
    -------
    >>> commonest_answers(["a", "a", "a"], ["yes", "no", "yes"])
    {'a': 'yes'}
    """
    counts = defaultdict(Counter)
    for group, answer in zip(groups, answers, strict=True):
        counts[group][answer] += 1
    return {group: count.most_common(1)[0][0] for group, count in counts.items()}


def control_table(
    rows: Sequence[Row],
    commonest: Mapping[str, str],
    metrics: Mapping[str, tuple[str, Callable]],
    parts: Mapping[str, Sequence[str]],
) -> list[dict]:
    """Score answers, the commonest answer and the answers about other clips.

    Arguments
    ---------
    rows : list of dict
        One per test row: ``group``, ``task``, ``answer``, ``shuffled`` (the answer
        about another clip) and ``references`` (list of str).
    commonest : dict
        Group -> the commonest training answer.
    metrics : dict
        Task -> (name, function of answers and lists of references that returns
        their mean score); ``""`` names the one for all other tasks.
    parts : dict
        Task -> names of the comma-separated parts of its answers, each of which
        becomes a line of its own; an empty name leaves a part out.

    Returns
    -------
    table : list of dict
        ``group``, ``metric``, ``n``, ``score``, ``commonest`` and ``shuffled``.
    """
    groups = defaultdict(list)
    for row in rows:
        groups[row["group"]].append(row)
    table = []
    for group, members in sorted(groups.items()):
        task = members[0]["task"]
        references = [row["references"] for row in members]
        always = commonest.get(group, "")
        columns = {
            "score": [row["answer"] for row in members],
            "commonest": [always] * len(members),
            "shuffled": [row["shuffled"] for row in members],
        }
        name, metric = metrics.get(task, metrics[""])
        line = {"group": group, "metric": name, "n": len(members)}
        line |= {key: metric(texts, references) for key, texts in columns.items()}
        table.append(line)
        for place, part in enumerate(parts.get(task, ())):
            if not part:
                continue
            name, metric = metrics[""]
            wanted = [[part_of(text, place) for text in texts] for texts in references]
            line = {"group": f"{group}, {part}", "metric": name, "n": len(members)}
            for key, texts in columns.items():
                line[key] = metric([part_of(text, place) for text in texts], wanted)
            table.append(line)
    return table


def part_of(answer: str, place: int) -> str:
    """Return one comma-separated part of an answer, empty if it is not there.

    Example
    -------
    >>> part_of("violin, pitch 60", 1)
    'pitch 60'
    """
    parts = [part.strip() for part in answer.split(",")]
    return parts[place] if place < len(parts) else ""


def format_table(table: Sequence[Row], form: str) -> str:
    """Write a control table as ``md``, ``csv`` or ``json``.

    Example
    -------
    >>> line = {"group": "a", "metric": "exact", "n": 2, "score": 1.0,
    ...     "commonest": 0.5, "shuffled": 0.0}
    >>> print(format_table([line], "md").splitlines()[-1])
    | a | exact | 2 | 100.0 | 50.0 | 0.0 |
    """
    if form == "json":
        return json.dumps(list(table), indent=2) + "\n"
    if form == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
        return text.getvalue()
    lines = [
        "| task | metric | clips | score % | commonest answer % | shuffled clips % |",
        "|---|---|---|---|---|---|",
    ]
    for line in table:
        figures = (line[key] * 100 for key in ("score", "commonest", "shuffled"))
        cells = [line["group"], line["metric"], str(line["n"])]
        cells += [f"{figure:.1f}" for figure in figures]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
