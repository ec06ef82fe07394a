"""pengi classify MODEL --labels LABEL,LABEL,... FILE...

Prints the label that fits each file best, and its score; with --json, all labels.
"""

import argparse
from pathlib import Path

from pengi_plugin.commands.files import find_files
from pengi_plugin.commands.model import add_files, load_model
from pengi_plugin.commands.report import report


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    command.add_argument("model", help="folder, or hub:owner/name")
    add_files(command)
    command.add_argument(
        "--labels",
        required=True,
        help="labels separated by commas, or a file with one label per line",
    )
    command.add_argument("--prompt", default="this is a sound of")
    command.add_argument(
        "--method",
        choices=("similarity", "likelihood"),
        default="similarity",
        help="score of a label: its similarity with the generated answer, or its "
        "log-probability as an answer",
    )


def run(args: argparse.Namespace) -> int:
    """Choose the best of several labels for each file; with --json, rank them all."""
    model = load_model(args)
    files = find_files(args.files)
    labels = read_labels(args.labels)
    rankings = model.classify_files(
        files, labels, args.prompt, args.method, args.batch_size
    )
    return report(args, files, rankings, all_labels if args.json else best_label)


def read_labels(text: str) -> list[str]:
    """Return labels separated by commas, or the lines of the file of that name.

    Raises
    ------
    FileNotFoundError
        If the text is a single word and no file: one label needs no classification.

    Example
    -------
    >>> read_labels("dog, rain")
    ['dog', 'rain']
    """
    path = Path(text).expanduser()
    if "," not in text and not path.is_file():
        raise FileNotFoundError(
            f"There is no file {text}; --labels takes labels separated by commas, or "
            "a file with one label per line."
        )
    labels = path.read_text("utf-8").splitlines() if path.is_file() else text.split(",")
    return [label.strip() for label in labels if label.strip()]


def all_labels(ranking: list[tuple[str, float]]) -> list[dict]:
    """Return a row per label, the best first."""
    return [{"label": label, "score": round(score, 6)} for label, score in ranking]


def best_label(ranking: list[tuple[str, float]]) -> list[dict]:
    """Return the row of the best label."""
    return all_labels(ranking[:1])
