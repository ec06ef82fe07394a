"""pengi export-onnx MODEL OUTPUT_FOLDER

Turns a model's folder into ONNX graphs and prints their folder's path.
"""

import argparse


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    command.add_argument("model", help="a model's folder, with weights in float32")
    command.add_argument("output_folder")
    command.add_argument(
        "--trust",
        action="store_true",
        help="let the model's YAML build and call anything: only for folders of people "
        "whom you would let run a program here",
    )


def run(args: argparse.Namespace) -> int:
    """Turn a model into ONNX graphs, for phones and other languages."""
    from pengi_plugin.conversion.onnx_export import export_onnx

    export_onnx(args.model, args.output_folder, args.trust)
    print(args.output_folder)
    return 0
