"""pengi export-onnx MODEL OUTPUT_FOLDER

Turns a model's folder into ONNX graphs and prints their folder's path.
"""

import argparse

from pengi_plugin.commands.model import add_trust, find_model


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    command.add_argument(
        "model", help="folder with weights in float32, or hub:owner/name"
    )
    command.add_argument("output_folder")
    add_trust(command)


def run(args: argparse.Namespace) -> int:
    """Turn a model into ONNX graphs, for phones and other languages."""
    from pengi_plugin.conversion.onnx_export import export_onnx

    export_onnx(find_model(args.model), args.output_folder, args.trust)
    print(args.output_folder)
    return 0
