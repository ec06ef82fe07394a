"""Answers about files in, lines on standard output out."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator

from tqdm import tqdm

#: Errors that say what is wrong with a file, a folder or an argument.
USER_ERRORS = (OSError, ValueError, RuntimeError)


def each(function: Callable, files: Iterable[str]) -> Iterator[tuple]:
    """Yield (result, None) or (None, error) of a function for each file."""
    for file in files:
        try:
            yield function(file), None
        except USER_ERRORS as error:
            yield None, error


def outcomes(answers: Iterable) -> Iterator[tuple]:
    """Yield (answer, None) or (None, error) of each ``FileAnswer``."""
    for item in answers:
        yield item.answer, item.error


def report(given, files: list[str], results: Iterable[tuple], rows: Callable) -> int:
    """Print results as they come, in order, and in the end the files at fault.

    Arguments
    ---------
    given : argparse.Namespace
        Whether ``json`` is asked for.
    files : list of str
        What the results are about.
    results : iterable of (object, Exception)
        A result or an error for each file.
    rows : callable
        A result -> dicts; each becomes a line of its values.
    """
    errors = {}
    objects = []
    progress = tqdm(results, total=len(files), unit="file", file=sys.stderr)
    for file, (result, error) in zip(files, progress, strict=True):
        if error is not None:
            errors[file] = error
            objects.append({"file": file, "error": str(error)})
            continue
        lines = [{"file": file} | row for row in rows(result)]
        objects += lines
        if not given.json:
            for line in lines:
                fields = (" ".join(str(field).split()) for field in line.values())
                progress.clear()
                print("\t".join(fields), flush=True)
    if given.json:
        print(json.dumps(objects, indent=2, ensure_ascii=False))
    for file, error in errors.items():
        print(f"pengi {given.command}: {file}: {error}", file=sys.stderr)
    return 1 if errors else 0


def answer_rows(answer: str) -> list[dict]:
    """Return the row of one answer."""
    return [{"answer": answer}]
