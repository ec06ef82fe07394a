"""pengi export RUN_FOLDER OUTPUT_FOLDER"""

import argparse


def run(given) -> int:
    """Turn a training run into a model's folder."""
    from pengi_plugin.training.export import export_run

    export_run(given.run_folder, given.output_folder)
    print(given.output_folder)
    return 0


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    command.add_argument("run_folder")
    command.add_argument("output_folder")
