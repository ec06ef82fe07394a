"""pengi describe MODEL FILE...

Prints one description of each file: its answers to several prompts, joined.
"""

import argparse

from pengi_plugin.commands.files import given_files
from pengi_plugin.commands.model import add_files, load_model
from pengi_plugin.commands.report import answer_rows, report


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    command.add_argument("model", help="folder, or hub:owner/name")
    add_files(command)


def run(args: argparse.Namespace) -> int:
    """Join the answers to several prompts about each file, in batches."""
    model = load_model(args)
    files = given_files(args.files, args.files_from)
    descriptions = model.describe_files(files, args.batch_size)
    return report(args, files, descriptions, answer_rows)
