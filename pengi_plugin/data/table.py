"""A file of rows in, JSON or CSV, its (ID, row) pairs out, texts taken literally.

SpeechBrain's ``load_data_json`` and ``load_data_csv`` replace ``{name}`` or ``$name``
in every text and fail where a caption has a brace or a dollar. Here no
character of a text has a meaning of its own.
"""

import codecs
import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

#: Field -> what separates its values in a cell of a CSV file. References are whole
#: sentences, in which commas are common.
SEPARATORS = {"labels": ",", "attributes": ",", "references": "|"}

#: A CSV column of lists that declares another separator: ``labels[;]``.
DECLARED = re.compile(r"(?P<name>.+)\[(?P<separator>.+)\]")

#: Key of the cells that a CSV row has beyond its columns.
BEYOND = "\0"


#: Characters that are read at a time.
CHUNK = 1 << 20

#: White space of JSON.
BLANKS = re.compile(r"[ \t\n\r]*")


class Repeated(dict):
    """A JSON object with a repeated key; ``pairs`` holds every pair of it."""

    def __init__(self, pairs: list[tuple]):
        super().__init__(pairs)
        self.pairs = pairs


def _keep_repeats(pairs: list[tuple]) -> dict:
    found = dict(pairs)
    return found if len(found) == len(pairs) else Repeated(pairs)


DECODER = json.JSONDecoder(object_pairs_hook=_keep_repeats)


def read_table(path: str | Path) -> Iterator[tuple[str, dict]]:
    """Yield all rows of a file, in order; it is never all in memory.

    Arguments
    ---------
    path : str
        UTF-8, with or without a byte order mark; line ends of any system. A ``.csv``
        file has a column ``ID``; any other file is JSON, an object of ID -> row.

    Yields
    ------
    row : (str, dict)
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
    >>> list(read_table(path))
    [('1', {'labels': ['dog', 'rain']})]
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _csv(file, path) if path.suffix == ".csv" else _json(file, path)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 ({error.reason} at byte {_undecodable(path)}); save "
            "it as UTF-8."
        ) from error


def _undecodable(path: Path) -> int:
    """Return where the first byte of a file is that is not UTF-8."""
    decoder, n_byte = codecs.getincrementaldecoder("utf-8")(), 0
    with path.open("rb") as file:
        try:
            while block := file.read(CHUNK):
                n_kept = len(decoder.getstate()[0])
                decoder.decode(block)
                n_byte += len(block)
            n_kept = len(decoder.getstate()[0])
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            return n_byte - n_kept + error.start
    raise AssertionError(f"{path} is UTF-8")


class _Window:
    """The part of a JSON text that is being read.

    Arguments
    ---------
    file : file
        Open for reading text.
    path : Path
        Its name, for messages.
    """

    def __init__(self, file, path: Path):
        self.file, self.path = file, path
        self.text, self.at, self.is_whole = "", 0, False
        self.n_line, self.n_column = 1, 1  # where ``text`` begins

    def more(self) -> None:
        """Drop what was read and read on; the longer what is left, the more."""
        read, self.text = self.text[: self.at], self.text[self.at :]
        self.n_line += read.count("\n")
        self.n_column = (
            len(read) - read.rfind("\n") + (0 if "\n" in read else self.n_column - 1)
        )
        self.at = 0
        block = self.file.read(max(CHUNK, len(self.text)))
        self.is_whole = not block
        self.text += block

    def next(self) -> str:
        """Return the next character that is no blank, without passing it; '' at the
        end."""
        while True:
            self.at = BLANKS.match(self.text, self.at).end()
            if self.at < len(self.text):
                return self.text[self.at]
            if self.is_whole:
                return ""
            self.more()

    def take(self, wanted: str, message: str) -> str:
        """Pass the next character, which must be one of those that are wanted."""
        found = self.next()
        if not found or found not in wanted:
            raise self.fault(message, self.at)
        self.at += 1
        return found

    def value(self) -> object:
        """Pass and return the next value."""
        while True:
            self.next()
            try:
                found, self.at = DECODER.raw_decode(self.text, self.at)
                return found
            except json.JSONDecodeError as error:
                if self.is_whole:
                    raise self.fault(error.msg, error.pos) from error
                self.more()

    def fault(self, message: str, at: int) -> ValueError:
        """Return the error of what is wrong at an offset in ``text``."""
        before = self.text[:at]
        line = self.n_line + before.count("\n")
        column = len(before) - before.rfind("\n")
        column += 0 if "\n" in before else self.n_column - 1
        return ValueError(
            f"{self.path} is no JSON: {message} in line {line}, column {column}."
        )


def _json(file, path: Path) -> Iterator[tuple[str, dict]]:
    """Yield the rows of an open JSON file; see ``read_table``."""
    window = _Window(file, path)
    if window.next() != "{":
        kind = type(window.value()).__name__
        raise ValueError(
            f"{path} holds a {kind}; a manifest is an object of "
            'ID -> row: {"1": {"wav": ...}}.'
        )
    window.at += 1
    ends = window.next() == "}"
    window.at += ends
    while not ends:
        if window.next() != '"':
            raise window.fault("Expecting an ID in double quotes", window.at)
        row_id = window.value()
        window.take(":", "Expecting ':' delimiter")
        row = window.value()
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
        yield row_id, row
        ends = window.take(",}", "Expecting ',' delimiter") == "}"
    if window.next():
        raise window.fault("Extra data", window.at)


def _csv(file, path: Path) -> Iterator[tuple[str, dict]]:
    """Yield the rows of an open CSV file; see ``read_table``."""
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
            yield row_id, row
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
