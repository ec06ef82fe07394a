"""Answers about files in, lines or JSON on standard output out."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable

from tqdm import tqdm

#: Errors whose message tells the user what is wrong.
USER_ERRORS = (OSError, ValueError, RuntimeError)


def report(
    args: argparse.Namespace, files: list[str], answers: Iterable, rows: Callable
) -> int:
    """Print the answers as they come, in order; then the files that failed.

    A line holds the path as given, and the values of a row, separated by tabs; white
    space in a value becomes one space. With ``--json``, a list of all rows is
    printed at the end, with the errors among them.

    Arguments
    ---------
    args : argparse.Namespace
        Has ``command`` and ``json``.
    files : list of str
        Paths as given.
    answers : iterable of FileAnswer
        One per file, in the same order.
    rows : callable
        An answer -> list of dict, one per line.

    Returns
    -------
    status : int
        0, or 1 if a file failed.
    """
    objects, errors = [], []
    progress = tqdm(answers, total=len(files), unit="file", file=sys.stderr)
    for file, answer in zip(files, progress, strict=True):
        if answer.error is not None:
            errors.append((file, answer.error))
            objects.append({"file": file, "error": str(answer.error)})
            continue
        for row in rows(answer.answer):
            objects.append({"file": file, **row})
            if not args.json:
                values = (" ".join(str(value).split()) for value in row.values())
                progress.clear()
                print(file, *values, sep="\t", flush=True)
    if args.json:
        print(json.dumps(objects, indent=2, ensure_ascii=False))
    for file, error in errors:
        print(f"pengi {args.command}: {file}: {error}", file=sys.stderr)
    return 1 if errors else 0


def answer_rows(answer: str) -> list[dict]:
    """Return the row of one answer."""
    return [{"answer": answer}]
