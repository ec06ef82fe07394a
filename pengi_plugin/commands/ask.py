"""pengi ask MODEL PROMPT FILE...

Prints the answer to one prompt about each file, or about each window of each file.
"""

import argparse
from collections.abc import Iterator

from pengi_plugin.commands.files import given_files
from pengi_plugin.commands.model import add_files, load_model
from pengi_plugin.commands.report import SUBTITLES, USER_ERRORS, answer_rows, report

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
    for name, (kind, text) in SEARCH.items():
        command.add_argument(f"--{name.replace('_', '-')}", type=kind, help=text)


def run(args: argparse.Namespace) -> int:
    """Answer one prompt about each file, in batches."""
    is_one = len(args.files) == 1 and not args.files_from
    if args.format in SUBTITLES and not (args.all_windows and is_one):
        raise ValueError(f"--format {args.format} needs --all-windows and one file.")
    model = load_model(args)
    files = given_files(args.files, args.files_from)
    search = {name: getattr(args, name) for name in SEARCH}
    search = {name: value for name, value in search.items() if value is not None}
    model.make_searcher(**search)  # refuses wrong options before any file is read
    if args.all_windows:
        return report(args, files, window_answers(model, args, files, search), windows)
    answers = model.answer_files(files, args.prompt, args.batch_size, **search)
    return report(args, files, answers, answer_rows)


def window_answers(model, args, files: list[str], search: dict) -> Iterator:
    """Yield the answers about all windows of each file, as ``FileAnswer``."""
    from pengi_plugin.inference import FileAnswer

    options = {"window": "all", "batch_size": args.batch_size, **search}
    for file in files:
        try:
            answers = model.generate_file(file, args.prompt, **options)
            yield FileAnswer(file, args.prompt, answers, None)
        except USER_ERRORS as error:
            yield FileAnswer(file, args.prompt, None, error)


def windows(answers: list[tuple[float, float, str]]) -> list[dict]:
    """Return a row per window, times in seconds."""
    return [
        {"start": round(start, 3), "end": round(end, 3), "answer": answer}
        for start, end, answer in answers
    ]
