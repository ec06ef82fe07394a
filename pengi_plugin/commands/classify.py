"""pengi classify MODEL --labels LABEL,LABEL,... FILE..."""

import argparse
from pathlib import Path

from pengi_plugin.commands.files import find_files
from pengi_plugin.commands.model import add_files, load_model
from pengi_plugin.commands.report import (
    outcomes,
    report,
)


def run(given) -> int:
    """Name the most fitting of some labels for each file; with --json, rank all."""
    model = load_model(given)
    files = find_files(given.files)
    labels = read_labels(given.labels)
    rankings = model.classify_files(
        files, labels, given.prompt, given.method, given.batch_size
    )
    n_shown = len(labels) if given.json else 1
    return report(
        given, files, outcomes(rankings), lambda ranking: label_rows(ranking[:n_shown])
    )


def label_rows(ranking: list[tuple[str, float]]) -> list[dict]:
    """Return a row per label."""
    return [{"label": label, "score": round(score, 6)} for label, score in ranking]


def read_labels(words: str) -> list[str]:
    """Return labels separated by commas, or the lines of a file.

    Example
    -------
    >>> read_labels("dog, rain")
    ['dog', 'rain']
    """
    is_file = Path(words).is_file()
    found = Path(words).read_text("utf-8").splitlines() if is_file else words.split(",")
    return [label.strip() for label in found if label.strip()]


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    command.add_argument("model")
    add_files(command)
    command.add_argument(
        "--labels", required=True, help="separated by commas, or a file of lines"
    )
    command.add_argument("--prompt", default="this is a sound of")
    command.add_argument(
        "--method", choices=("similarity", "likelihood"), default="similarity"
    )
