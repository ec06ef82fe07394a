"""Manifest rows and an entry of a benchmark in, the rows that protocols want out.

A protocol's row has ``id``, ``wav``, ``prompt`` and the fields that the protocol
reads: ``label`` or ``labels``, ``references``, ``number``, ``fold``.
"""

from collections.abc import Iterable, Mapping

from pengi_plugin.tasks import TASKS, Template

#: Fields that hold a list, of one value where the manifest has one.
LISTS = ("labels", "references")


def entry_rows(
    rows: Iterable[Mapping],
    entry: Mapping,
    templates: Mapping[str, Template] = TASKS,
) -> list[dict]:
    """Choose a benchmark entry's rows and give their fields the protocol's names.

    Arguments
    ---------
    rows : list of dict
        Of one or several manifests, with ``id``, ``wav``, ``task`` and its words.
    entry : dict
        ``title``; ``fields``: name that the protocol reads -> field of the manifest;
        and, if given, ``where``: field -> value of the rows to take, ``prompt``, in
        which ``{field}`` stands for a field of the row (else the task's), and
        ``separator`` of the labels that are one text, as in a CSV manifest: without it
        such a text is one label, whatever commas its name has.
    templates : dict
        Task -> Template.

    Returns
    -------
    rows : list of dict
        Rows that ask the same about a clip are one, with all their references.

    Raises
    ------
    ValueError
        If no row is left, or one lacks a field.

    Example
    -------
    >>> row = {"id": "1", "wav": "1.wav", "task": "sound_events", "labels": ["dog"]}
    >>> entry_rows([row], {"title": "Dogs", "fields": {"label": "labels"}})
    [{'id': '1', 'wav': '1.wav', 'prompt': 'this is a sound of', 'label': 'dog'}]
    >>> entry = {"title": "Dogs", "fields": {"labels": "labels"}, "separator": ","}
    >>> entry_rows([{**row, "labels": "Bark,Dog"}], entry)[0]["labels"]
    ['Bark', 'Dog']
    """
    where = entry.get("where") or {}
    chosen = [
        entry_row(row, entry, templates)
        for row in rows
        # A CSV manifest has the text "4" where a JSON one may have the number.
        if all(str(row.get(field)) == str(value) for field, value in where.items())
    ]
    if not chosen:
        raise ValueError(f"{entry['title']}: no row of its manifests has {where}.")
    return merge_references(chosen) if "references" in entry["fields"] else chosen


def entry_row(row: Mapping, entry: Mapping, templates: Mapping[str, Template]) -> dict:
    """Return one row for a protocol; see ``entry_rows``."""
    what = f"{entry['title']}: row {row['id']!r}"
    try:
        prompt = prompt_of(row, entry, templates).format(**row)
    except KeyError as error:
        raise ValueError(
            f"{what} has no {error}, which its prompt or task needs; it has "
            f"{sorted(row)}, and templates are known of {sorted(templates)}."
        ) from error
    found = {"id": row["id"], "wav": row["wav"], "prompt": prompt}
    for name, field in entry["fields"].items():
        if field not in row:
            raise ValueError(
                f"{what} has no {field!r}, which 'fields' names; it has {sorted(row)}."
            )
        value = row[field]
        if name == "labels" and isinstance(value, str) and entry.get("separator"):
            value = [part.strip() for part in value.split(entry["separator"])]
        if name in LISTS:
            value = list(value) if isinstance(value, list | tuple) else [value]
        elif name == "label" and isinstance(value, list | tuple):
            if len(value) != 1:
                raise ValueError(f"{what} must have one label; got {value!r}.")
            value = value[0]
        found[name] = value
    return found


def prompt_of(row: Mapping, entry: Mapping, templates: Mapping[str, Template]) -> str:
    """Return an entry's prompt for a row, with ``{field}`` where a field goes."""
    return entry.get("prompt") or templates[row["task"]].prompt


def merge_references(rows: Iterable[Mapping]) -> list[dict]:
    """Make one row of those that ask the same about a clip, with all references.

    Rows of different corpora or tasks, where they name these, stay apart.

    Example
    -------
    >>> asked = {"wav": "1.wav", "prompt": "what is it?"}
    >>> rows = [{"id": n, **asked, "references": [n]} for n in ("dog", "cat")]
    >>> merge_references(rows)[0]["references"]
    ['dog', 'cat']
    """
    merged = {}
    for row in rows:
        same = tuple(row.get(key) for key in ("corpus", "task", "wav", "prompt"))
        if same in merged:
            merged[same]["references"] += row["references"]
        else:
            merged[same] = {**row, "references": list(row["references"])}
    return list(merged.values())
