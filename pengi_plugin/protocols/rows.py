"""Manifest rows in, the rows that protocols want out.

A protocol's row has ``id``, ``wav``, ``prompt`` and the fields that the protocol
reads: ``label`` or ``labels``, ``references``, ``number``, ``fold``.
"""

from collections.abc import Iterable, Mapping

from pengi_plugin.tasks import TASKS, Template, apply


def task_rows(
    manifest: Mapping[str, Mapping], templates: Mapping[str, Template] = TASKS
) -> list[dict]:
    """Put manifest rows into words, for ``score_tasks``.

    Arguments
    ---------
    manifest : dict
        ID -> row of a manifest.
    templates : dict
        Task -> Template.

    Returns
    -------
    rows : list of dict
        The rows with ``id``, ``prompt``, ``answer`` and ``references``: those of the
        manifest, or the answer alone.

    Example
    -------
    >>> (row,) = task_rows({"1": {"task": "sound_events", "labels": ["dog", "rain"]}})
    >>> row["prompt"], row["answer"], row["references"]
    ('this is a sound of', 'dog, rain', ['dog, rain'])
    """
    rows = []
    for row_id, row in manifest.items():
        row = {**row, "id": row_id}
        prompt, answer = apply(row["task"], row, templates)
        references = row.get("references") or [answer]
        # In a CSV manifest it is one text.
        references = [references] if isinstance(references, str) else list(references)
        rows.append(
            {**row, "prompt": prompt, "answer": answer, "references": references}
        )
    return rows


def merge_references(rows: Iterable[Mapping]) -> list[dict]:
    """Make one row of those that ask the same about a clip, with all references.

    Example
    -------
    >>> asked = {"wav": "1.wav", "prompt": "what is it?"}
    >>> rows = [{"id": n, **asked, "references": [n]} for n in ("dog", "cat")]
    >>> merge_references(rows)[0]["references"]
    ['dog', 'cat']
    """
    merged = {}
    for row in rows:
        same = row["wav"], row.get("task"), row["prompt"]
        if same in merged:
            merged[same]["references"] += row["references"]
        else:
            merged[same] = {**row, "references": list(row["references"])}
    return list(merged.values())
