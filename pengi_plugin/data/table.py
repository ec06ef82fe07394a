"""A file of rows in, JSON or CSV, its (ID, row) pairs out, texts taken literally.

SpeechBrain's ``load_data_json`` and ``load_data_csv`` replace ``{name}`` or ``$name``
in every text and fail where a caption has a brace or a dollar. Here nothing in a
text means anything.
"""

import csv
import json
import re
from pathlib import Path

#: Field -> what separates its values in a cell of a CSV file. References are whole
#: sentences, in which commas are common.
SEPARATORS = {"labels": ",", "attributes": ",", "references": "|"}

#: A CSV column of lists that declares another separator: ``labels[;]``.
DECLARED = re.compile(r"(?P<name>.+)\[(?P<separator>.+)\]")

#: Key of the cells that a CSV row has beyond its columns.
BEYOND = "\0"


class Repeated(dict):
    """A JSON object with a repeated key; ``pairs`` holds every pair of it."""

    def __init__(self, pairs: list[tuple]):
        super().__init__(pairs)
        self.pairs = pairs


def read_table(path: str | Path) -> list[tuple[str, dict]]:
    """Read all rows of a file, in order.

    Arguments
    ---------
    path : str
        UTF-8, with or without a byte order mark; line ends of any system. A ``.csv``
        file has a column ``ID``; any other file is JSON, an object of ID -> row.

    Returns
    -------
    rows : list of (str, dict)
        ID and row. IDs may repeat. An empty cell of a CSV file is a field that the
        row does not have; a cell of a field of ``SEPARATORS``, or of a column that
        is named ``field[separator]``, is a list.

    Raises
    ------
    ValueError
        If the file is not in this form; names the file and the line or the row.

    Example
    -------
    >>> path = getfixture("tmp_path") / "train.csv"
    >>> _ = path.write_text('ID,labels\\n1,"dog,rain"\\n')
    >>> read_table(path)
    [('1', {'labels': ['dog', 'rain']})]
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _csv(file, path) if path.suffix == ".csv" else _json(file, path)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it as "
            "UTF-8."
        ) from error


def _json(file, path: Path) -> list[tuple[str, dict]]:
    def keep_repeats(pairs):
        found = dict(pairs)
        return found if len(found) == len(pairs) else Repeated(pairs)

    try:
        rows = json.load(file, object_pairs_hook=keep_repeats)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} is no JSON: {error.msg} in line {error.lineno}, column "
            f"{error.colno}."
        ) from error
    if not isinstance(rows, dict):
        raise ValueError(
            f"{path} holds a {type(rows).__name__}; a manifest is an object of "
            'ID -> row: {"1": {"wav": ...}}.'
        )
    pairs = rows.pairs if isinstance(rows, Repeated) else list(rows.items())
    for row_id, row in pairs:
        if not isinstance(row, dict):
            raise ValueError(
                f"Row {row_id!r} of {path} is a {type(row).__name__}; a row is an "
                'object of fields: {"wav": ...}.'
            )
        if isinstance(row, Repeated):
            names = [name for name, _ in row.pairs]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(
                f"Row {row_id!r} of {path} has the field {', '.join(twice)} twice."
            )
    return pairs


def _csv(file, path: Path) -> list[tuple[str, dict]]:
    """Read the rows of an open CSV file; see ``read_table``."""
    reader = csv.DictReader(file, skipinitialspace=True, restkey=BEYOND, strict=True)
    try:
        columns = [column.strip() for column in reader.fieldnames or ()]
        if len(set(columns)) != len(columns) or "ID" not in columns:
            raise ValueError(
                f"The first line of {path} must name the columns, each once, one of "
                f"them ID, with commas between; got {columns}."
            )
        reader.fieldnames = columns
        fields = {column: _field(column) for column in columns}
        rows = []
        for cells in reader:
            row_id = cells.pop("ID")
            if BEYOND in cells or None in cells.values():
                n_cell = len(columns) + len(cells.get(BEYOND, ()))
                n_cell -= sum(value is None for value in cells.values())
                raise ValueError(
                    f"Row {row_id!r} of {path} (line {reader.line_num}) has {n_cell} "
                    f"cells, the first line {len(columns)}; put a text with commas or "
                    "line breaks in double quotes."
                )
            if not row_id:
                raise ValueError(f"Line {reader.line_num} of {path} has no ID.")
            row = {}
            for column, cell in cells.items():
                name, separator = fields[column]
                if cell != "":
                    row[name] = _split(cell, separator) if separator else cell
            rows.append((row_id, row))
        return rows
    except csv.Error as error:
        raise ValueError(
            f"{path} is no CSV: {error}, in the row after line {reader.line_num}."
        ) from error


def _field(column: str) -> tuple[str, str | None]:
    """Return the name and the separator of a column."""
    declared = DECLARED.fullmatch(column)
    if declared:
        return declared["name"], declared["separator"]
    return column, SEPARATORS.get(column)


def _split(cell: str, separator: str) -> list[str]:
    return [part.strip() for part in cell.split(separator) if part.strip()]
