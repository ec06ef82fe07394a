"""pengi describe MODEL FILE..."""

import argparse

from pengi_plugin.commands.files import find_files
from pengi_plugin.commands.model import add_files, load_model
from pengi_plugin.commands.report import (
    answer_rows,
    outcomes,
    report,
)


def run(given) -> int:
    """Join the answers to several prompts about each file, in batches."""
    model = load_model(given)
    files = find_files(given.files)
    descriptions = model.describe_files(files, given.batch_size)
    return report(given, files, outcomes(descriptions), answer_rows)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    command.add_argument("model")
    add_files(command)
