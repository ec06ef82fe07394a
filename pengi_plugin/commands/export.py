"""pengi export RUN_FOLDER OUTPUT_FOLDER

Turns the output folder of a training into a model's folder and prints its path.
"""

import argparse


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    command.add_argument("run_folder", help="output_folder of the training's YAML")
    command.add_argument("output_folder")
    command.add_argument(
        "--int8", action="store_true", help="weights of 8 bits, to answer on CPUs"
    )


def run(args: argparse.Namespace) -> int:
    """Turn a training run into a model's folder."""
    from pengi_plugin.training.export import export_run

    export_run(args.run_folder, args.output_folder, int8=args.int8)
    print(args.output_folder)
    return 0
