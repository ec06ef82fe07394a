"""What all commands about a model and audio files share."""

import argparse


def load_model(given):
    """Load the model of a folder or hub name to a device."""
    from pengi_plugin.inference import AudioLanguageModel

    run_opts = {"device": given.device} if given.device else None
    return AudioLanguageModel.from_hparams(source=given.model, run_opts=run_opts)


def add_files(command: argparse.ArgumentParser) -> None:
    """Add what all commands about audio files take."""
    command.add_argument("files", nargs="+", help="files, folders or patterns")
    command.add_argument(
        "--batch-size", type=int, default=8, help="clips that are heard at a time"
    )
    command.add_argument("--json", action="store_true", help="print one JSON list")
    command.add_argument(
        "--device", help="such as cpu or cuda:1; else the best there is"
    )
