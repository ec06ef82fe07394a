"""A manifest and its rows in, which of its labels may be several in one text out.

``Bark,Dog`` is two labels or one with a comma in its name, as in AudioSet's ``Air horn,
truck horn``. What it is must be declared: by a list in JSON; by a CSV column that is
named ``labels[;]`` or, in quotes, ``"labels[,]"``; by ``--separator`` of ``pengi
prepare clips``.
"""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from pengi_plugin.data.table import DECLARED, SEPARATORS

#: Fields of labels, and what may stand between two of them.
FIELDS = ("labels", "attributes")
POSSIBLE = ",;|"


def undeclared_labels(
    path: str | Path, rows: Iterable[Mapping], arguments: Mapping | None = None
) -> list[str]:
    """Return a warning for each field whose separator is not declared and may matter.

    Arguments
    ---------
    path : str
        The manifest.
    rows : iterable of dict
        Its rows, as they were read.
    arguments : dict
        What the manifest was prepared from, as ``prepared.json`` says.

    Returns
    -------
    warnings : list of str
        Each with the number of cells, the first of them, and what to do.
    """
    path = Path(path)
    # Other preparations know where labels end; the reader of clips was told, or not.
    told = (arguments or {}).get("separators", {})
    if path.suffix == ".csv":
        return _of_table(path)
    found = {field: [] for field in FIELDS}
    for row in rows:
        for field in FIELDS:
            value = row.get(field)
            untold = isinstance(value, list) and field in told and not told[field]
            texts = value if untold else [value]
            found[field] += [t for t in texts if isinstance(t, str) and _may_be_two(t)]
    hint = (
        "each is read as one label; if they are several, prepare again with --separator"
        if told
        else "each is read as one label; write a list if they are several"
    )
    return [_warning(path, field, some, hint) for field, some in found.items() if some]


def _of_table(path: Path) -> list[str]:
    """Return the warnings of a CSV manifest, whose cells tell what was written."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        found = {field: [] for field in FIELDS if field in reader.fieldnames}
        for cells in reader:
            for field, some in found.items():
                if _may_be_two(cells[field] or ""):
                    some.append(cells[field])
    warnings = []
    for field, some in found.items():
        if some:
            separator = SEPARATORS[field]
            hint = (
                f"they are divided at {separator!r}; to say at what, name the column "
                f'"{field}[,]" (with the quotes), {field}[;] or {field}[|]'
            )
            warnings.append(_warning(path, field, some, hint))
    return warnings


def _may_be_two(text: str) -> bool:
    return any(letter in text for letter in POSSIBLE)


def _warning(path: Path, field: str, cells: list[str], hint: str) -> str:
    return (
        f"{path}: {len(cells)} texts of {field} hold one of {' '.join(POSSIBLE)}, for "
        f"instance {cells[0]!r}, and no separator is declared: {hint}."
    )


def declared_separator(column: str) -> str | None:
    """Return the separator that a column's name declares.

    Example
    -------
    >>> declared_separator("class[;]"), declared_separator("class")
    (';', None)
    """
    declared = DECLARED.fullmatch(column)
    return declared["separator"] if declared else None
