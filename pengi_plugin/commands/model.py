"""Arguments and the model of the commands about audio files."""

import argparse


def add_files(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of all commands about audio files."""
    command.add_argument(
        "--trust",
        action="store_true",
        help="let the model's YAML build and call anything: only for folders of people "
        "whom you would let run a program here",
    )
    command.add_argument("files", nargs="+", help="files, folders or patterns")
    command.add_argument(
        "--batch-size", type=int, default=8, help="clips that are encoded at a time"
    )
    command.add_argument("--json", action="store_true", help="print one JSON list")
    command.add_argument(
        "--device", help="such as cpu or cuda:1; a GPU if there is one by default"
    )
    command.add_argument(
        "--precision",
        choices=["auto", "fp32", "bf16"],
        default="fp32",
        help="auto takes bf16 where the device multiplies faster in it",
    )


def load_model(args: argparse.Namespace):
    """Load the model of a folder or hub name to a device."""
    from pengi_plugin.inference import AudioLanguageModel

    run_opts = {"precision": args.precision}
    if args.device:
        run_opts["device"] = args.device
    return AudioLanguageModel.from_hparams(
        source=args.model, trust=args.trust, run_opts=run_opts
    )
