"""pengi classify MODEL --labels LABEL,LABEL,... FILE...

Prints the label that fits each file best, and its score; with --json, all labels.
"""

import argparse
from pathlib import Path

from pengi_plugin.commands.files import given_files
from pengi_plugin.commands.model import add_files, load_model
from pengi_plugin.commands.report import report


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    command.add_argument("model", help="folder, or hub:owner/name")
    add_files(command)
    labels = command.add_mutually_exclusive_group(required=True)
    labels.add_argument("--labels", help="labels separated by commas")
    labels.add_argument("--labels-file", help="a file with one label per line")
    command.add_argument("--prompt", default="this is a sound of")
    command.add_argument(
        "--method",
        choices=("similarity", "likelihood"),
        default="similarity",
        help="score of a label: its similarity with the generated answer, or its "
        "log-probability as an answer",
    )
    command.add_argument(
        "--normalize",
        choices=("none", "token", "prior"),
        default="none",
        help="with --method likelihood: the mean over a label's tokens (token), or "
        "less its log-probability about a silent clip (prior)",
    )


def run(args: argparse.Namespace) -> int:
    """Choose the best of several labels for each file; with --json, rank them all."""
    model = load_model(args)
    files = given_files(args.files, args.files_from)
    labels = read_labels(args.labels, args.labels_file)
    how = (args.prompt, args.method, args.batch_size, args.normalize)
    rankings = model.classify_files(files, labels, *how)
    return report(
        args,
        files,
        rankings,
        all_labels if args.format in ("json", "jsonl") else best_label,
    )


def read_labels(text: str | None, file: str | None = None) -> list[str]:
    """Return labels separated by commas, or the lines of a file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If there is one label or none: nothing is to be chosen.

    Example
    -------
    >>> read_labels("dog, rain")
    ['dog', 'rain']
    """
    if file is not None:
        parts = Path(file).expanduser().read_text("utf-8").splitlines()
    else:
        parts = text.split(",")
    labels = [label.strip() for label in parts if label.strip()]
    if len(labels) < 2:
        raise ValueError(
            f"Classification needs at least two labels; got {labels}. --labels takes "
            "labels separated by commas, --labels-file a file with one per line."
        )
    return labels


def all_labels(ranking: list[tuple[str, float]]) -> list[dict]:
    """Return a row per label, the best first."""
    return [{"label": label, "score": round(score, 6)} for label, score in ranking]


def best_label(ranking: list[tuple[str, float]]) -> list[dict]:
    """Return the row of the best label."""
    return all_labels(ranking[:1])
