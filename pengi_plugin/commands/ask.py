"""pengi ask MODEL PROMPT FILE...

Prints the answer to one prompt about each file, or about each window of each file as
it comes, or the commonest answers about its windows.
"""

import argparse
import random
import sys
from collections.abc import Callable, Iterable, Iterator

from pengi_plugin.commands.files import given_files
from pengi_plugin.commands.model import add_files, load_model
from pengi_plugin.commands.report import SUBTITLES, answer_rows, report

#: Options that are passed to the search: (type, help).
SEARCH = {
    "beam_size": (int, "hypotheses of a beam search; 1 is greedy search"),
    "max_new_tokens": (int, "longest answer, in tokens"),
    "temperature": (float, "draw the answer at random, at this temperature"),
    "top_k": (int, "draw among the k most likely tokens"),
    "top_p": (float, "draw among the most likely tokens of this total probability"),
    "seed": (int, "random seed"),
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    command.add_argument("model", help="folder, or hub:owner/name")
    command.add_argument("prompt")
    add_files(command, has_windows=True)
    command.add_argument(
        "--all-windows",
        action="store_true",
        help="answer for each window of a long recording, with its times in seconds",
    )
    command.add_argument(
        "--overlap",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="with --all-windows: how long a window overlaps the one before",
    )
    command.add_argument(
        "--summary",
        action="store_true",
        help="with --all-windows: each answer once, the commonest first, with how many "
        "windows it was given about, and their times in seconds",
    )
    for name, (kind, text) in SEARCH.items():
        command.add_argument(f"--{name.replace('_', '-')}", type=kind, help=text)


def run(args: argparse.Namespace) -> int:
    """Answer one prompt about each file, in batches."""
    check_windows(args)
    model = load_model(args)
    files = given_files(args.files, args.files_from)
    if args.format in SUBTITLES and len(files) > 1:
        raise ValueError(f"--format {args.format} needs one file; got {len(files)}.")
    search = {name: getattr(args, name) for name in SEARCH}
    search = {name: value for name, value in search.items() if value is not None}
    if not model.is_repeatable(**search):  # refuses wrong options, too
        search["seed"] = random.randrange(2**31)
        print(f"pengi ask: drawn with --seed {search['seed']}", file=sys.stderr)
    if args.all_windows:
        found = window_answers(model, args, files, search)
        return report(args, files, found, rows_of_windows(args))
    answers = model.answer_files(files, args.prompt, args.batch_size, **search)
    return report(args, files, answers, answer_rows)


def check_windows(args: argparse.Namespace) -> None:
    """Raise ValueError if an option needs --all-windows, or a format has no times."""
    if not args.all_windows:
        for is_given, name in (
            (args.format in SUBTITLES, f"--format {args.format}"),
            (args.overlap != 0, "--overlap"),
            (args.summary, "--summary"),
        ):
            if is_given:
                raise ValueError(f"{name} needs --all-windows.")
    if args.summary and args.format in SUBTITLES:
        raise ValueError(
            f"--summary has no subtitles: its answers come at several times. Give "
            f"another --format; got {args.format}."
        )


def window_answers(model, args, files: list[str], search: dict) -> Iterator:
    """Yield the answers about all windows of each file, not yet asked for."""
    from pengi_plugin.inference import FileAnswer

    for file in files:
        answers = model.answer_windows(
            file, args.prompt, args.batch_size, args.overlap, **search
        )
        yield FileAnswer(file, args.prompt, answers, None)


def rows_of_windows(args: argparse.Namespace) -> Callable:
    """Return what makes rows of the answers about windows."""
    if not args.summary:
        return windows
    return summary if args.format in ("json", "jsonl") else summary_in_words


def windows(answers: Iterable[tuple[float, float, str]]) -> Iterator[dict]:
    """Yield a row per window, times in seconds, as soon as it is answered."""
    for start, end, answer in answers:
        yield {"start": round(start, 3), "end": round(end, 3), "answer": answer}


def summary(answers: Iterable[tuple[float, float, str]]) -> list[dict]:
    """Return a row per distinct answer, the commonest first."""
    from pengi_plugin.inference import summarize

    return [
        {
            "count": line.count,
            "answer": line.answer,
            "times": [[round(start, 3), round(end, 3)] for start, end in line.times],
        }
        for line in summarize(answers)
    ]


def summary_in_words(answers: Iterable[tuple[float, float, str]]) -> list[dict]:
    """Return the rows of ``summary`` with times that a person reads.

    Example
    -------
    >>> summary_in_words([(0.0, 5.0, "rain"), (5.0, 7.25, "rain"), (5.25, 9.0, "dog")])
    [{'count': 2, 'answer': 'rain', 'times': '0.0-7.25'}, ...]
    """
    return [
        {**row, "times": ", ".join(f"{start}-{end}" for start, end in row["times"])}
        for row in summary(answers)
    ]
