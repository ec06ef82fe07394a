"""pengi ask MODEL PROMPT FILE..."""

import argparse

from pengi_plugin.commands.files import find_files
from pengi_plugin.commands.model import add_files, load_model
from pengi_plugin.commands.report import (
    answer_rows,
    each,
    outcomes,
    report,
)


def run(given) -> int:
    """Answer one prompt about each file, in batches."""
    model = load_model(given)
    files = find_files(given.files)
    search = {name: getattr(given, name) for name in SEARCH}
    search = {name: value for name, value in search.items() if value is not None}
    if given.all_windows:

        def answer_windows(path):
            options = {"window": "all", "batch_size": given.batch_size, **search}
            return model.generate_file(path, given.prompt, **options)

        return report(given, files, each(answer_windows, files), window_rows)
    answers = model.answer_files(files, given.prompt, given.batch_size, **search)
    return report(given, files, outcomes(answers), answer_rows)


#: Options of ``ask`` that are handed on to the search: (type, help).
SEARCH = {
    "beam_size": (int, "hypotheses kept at a time; 1 is greedy"),
    "max_new_tokens": (int, "longest answer, in tokens"),
    "temperature": (float, "draw the answer at random, at this temperature"),
    "top_k": (int, "draw among the k most likely tokens"),
    "top_p": (float, "draw among the most likely tokens that have this share"),
    "seed": (int, "what is drawn follows from this number"),
}


def window_rows(windows: list[tuple[float, float, str]]) -> list[dict]:
    """Return a row per window, times in seconds."""
    return [
        {"start": round(start, 3), "end": round(end, 3), "answer": answer}
        for start, end, answer in windows
    ]


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    command.add_argument("model")
    command.add_argument("prompt")
    add_files(command)
    command.add_argument(
        "--all-windows",
        action="store_true",
        help="answer for each window of a long recording, with its times in seconds",
    )
    for name, (kind, text) in SEARCH.items():
        command.add_argument(f"--{name.replace('_', '-')}", type=kind, help=text)
