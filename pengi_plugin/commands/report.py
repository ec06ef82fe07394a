"""Answers about files in, lines or JSON on standard output out."""

import argparse
import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator

from tqdm import tqdm

#: Errors whose message tells the user what is wrong.
USER_ERRORS = (OSError, ValueError, RuntimeError, KeyError)

#: How answers may be printed; those of ``SUBTITLES`` need times.
FORMATS = ("tsv", "csv", "jsonl", "json")
SUBTITLES = ("srt", "vtt")

#: What ends a line or a column is printed as in Python, so that a file has one line.
ESCAPES = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def report(
    args: argparse.Namespace, files: list[str], answers: Iterable, rows: Callable
) -> int:
    """Print the rows of answers as they come, in order; then the files that failed.

    A line holds the path as given, and the values of a row. In ``tsv``, tabs and line
    breaks of a path are escaped and white space in a value becomes one space. A
    ``jsonl`` line is an object, also of a file that failed; ``json`` is one list of
    them at the end.

    Arguments
    ---------
    args : argparse.Namespace
        Has ``command`` and ``format``.
    files : list of str
        Paths as given.
    answers : iterable of FileAnswer
        One per file, in the same order.
    rows : callable
        An answer -> iterable of dict, one per line. Rows are printed one by one; an
        error of a file may come after some.

    Returns
    -------
    status : int
        0, or 1 if a file failed.
    """
    objects, errors = [], []
    number = 0
    progress = tqdm(answers, total=len(files), unit="file", file=sys.stderr)
    if args.format == "vtt":
        print("WEBVTT\n", flush=True)
    for file, answer in zip(files, progress, strict=True):
        for row in rows_about(file, answer, rows):
            if "error" in row:
                errors.append((file, row["error"]))
            if args.format == "json":
                objects.append(row)
            elif args.format == "jsonl" or "error" not in row:
                number += 1
                progress.clear()
                print(LINES[args.format](row, number), flush=True)
            if "end" in row:
                progress.set_postfix_str(f"at {clock(row['end'], '.')}")
    if args.format == "json":
        print(json.dumps(objects, indent=2, ensure_ascii=False))
    for file, message in errors:
        print(f"pengi {args.command}: {escaped(file)}: {message}", file=sys.stderr)
    return 1 if errors else 0


def rows_about(file: str, answer, rows: Callable) -> Iterator[dict]:
    """Yield the rows of a file as they come; that of its error is the last."""
    try:
        if answer.error is not None:
            raise answer.error
        for row in rows(answer.answer):
            yield {"file": file, **row}
    except USER_ERRORS as error:
        yield {"file": file, "error": message_of(error)}


def message_of(error: Exception) -> str:
    """Return an error's message; that of a KeyError without quotation marks."""
    is_key = isinstance(error, KeyError) and error.args
    return str(error.args[0] if is_key else error)


def escaped(path: str) -> str:
    r"""Return a path on one line and in one column.

    Example
    -------
    >>> print(escaped("a\tsong\n.wav"))
    a\tsong\n.wav
    """
    return "".join(ESCAPES.get(letter, letter) for letter in path)


def as_tsv(row: dict, _) -> str:
    """Return a row's values, separated by tabs."""
    path, *values = row.values()
    return "\t".join([escaped(path), *(" ".join(str(v).split()) for v in values)])


def as_csv(row: dict, _) -> str:
    """Return a row's values as CSV; a path may hold anything."""
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\r\n").writerow(row.values())  # quotes both
    return line.getvalue().removesuffix("\r\n")


def as_jsonl(row: dict, _) -> str:
    """Return a row as an object on one line."""
    return json.dumps(row, ensure_ascii=False)


def as_srt(row: dict, number: int) -> str:
    """Return a row with times as a subtitle."""
    times = f"{clock(row['start'], ',')} --> {clock(row['end'], ',')}"
    return f"{number}\n{times}\n{' '.join(row['answer'].split())}\n"


def as_vtt(row: dict, _) -> str:
    """Return a row with times as a subtitle of the web."""
    times = f"{clock(row['start'], '.')} --> {clock(row['end'], '.')}"
    return f"{times}\n{' '.join(row['answer'].split())}\n"


def clock(seconds: float, point: str) -> str:
    """Return a time of subtitles.

    Example
    -------
    >>> clock(3725.5, ",")
    '01:02:05,500'
    """
    millis = round(seconds * 1000)
    minutes, millis = divmod(millis, 60_000)
    hours, minutes = divmod(minutes, 60)
    whole, millis = divmod(millis, 1000)
    return f"{hours:02}:{minutes:02}:{whole:02}{point}{millis:03}"


#: Format -> (row, its number) -> what is printed.
LINES = {"tsv": as_tsv, "csv": as_csv, "jsonl": as_jsonl, "srt": as_srt, "vtt": as_vtt}


def answer_rows(answer: str) -> list[dict]:
    """Return the row of one answer."""
    return [{"answer": answer}]
