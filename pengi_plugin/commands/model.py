"""Arguments and the model of the commands about audio files."""

import argparse
from pathlib import Path

from pengi_plugin.commands.report import FORMATS, SUBTITLES
from pengi_plugin.storage.locate import HUB


class InPlaceOf(argparse.Action):
    """Store an option that makes a positional argument unnecessary.

    With ``nargs="*"``, argparse takes files that follow an option for unknown words.
    """

    def __init__(self, option_strings, dest, other, **options):
        super().__init__(option_strings, dest, **options)
        self.other = other

    def __call__(self, parser, namespace, values, option_string=None):
        """Store."""
        self.other.required = False
        setattr(namespace, self.dest, values)


def add_loading(command: argparse.ArgumentParser) -> None:
    """Declare how a model is loaded."""
    add_trust(command)
    command.add_argument(
        "--device", help="such as cpu or cuda:1; a GPU if there is one by default"
    )
    command.add_argument(
        "--precision",
        choices=["auto", "fp32", "fp16", "bf16"],
        default="fp32",
        help="fp16 on a CPU: weights of 16 bits, sums in float32; auto takes the "
        "fastest, fp16 on a CPU, bf16 on a GPU that has it",
    )
    command.add_argument(
        "--int8", action="store_true", help="weights of 8 bits: faster on CPUs"
    )


def add_files(command: argparse.ArgumentParser, has_windows: bool = False) -> None:
    """Declare the arguments of all commands about audio files.

    Arguments
    ---------
    command : argparse.ArgumentParser
        The command.
    has_windows : bool
        Whether its answers may have times, as subtitles have.
    """
    add_loading(command)
    files = command.add_argument(
        "files", nargs="+", default=[], help="files, folders or patterns"
    )
    command.add_argument(
        "--files-from",
        metavar="LIST",
        action=InPlaceOf,
        other=files,
        help="a file with a path on each line; - is standard input",
    )
    command.add_argument(
        "--batch-size", type=int, default=8, help="clips that are encoded at a time"
    )
    command.add_argument(
        "--format",
        choices=(*FORMATS, *SUBTITLES) if has_windows else FORMATS,
        default="tsv",
        help="output format; all but json print each answer as it comes",
    )
    command.add_argument(
        "--json",
        dest="format",
        action="store_const",
        const="json",
        help="the same as --format json",
    )


def add_trust(command: argparse.ArgumentParser) -> None:
    """Declare the option that leaves out the check of a model's YAML."""
    command.add_argument(
        "--trust",
        action="store_true",
        help="let the model's YAML build and call anything: only for folders of people "
        "whom you would let run a program here",
    )


def find_model(name: str):
    """Return where a model is: in a folder, or on the hub if the user says so.

    It is decided here once: what takes a model takes what is returned, not the name.

    Arguments
    ---------
    name : str
        A folder, or ``hub:owner/name``.

    Returns
    -------
    source : FetchSource
        For ``AudioLanguageModel.from_hparams`` and ``fingerprint``.

    Raises
    ------
    FileNotFoundError
        If there is no such folder; the hub is not asked.
    ValueError
        If ``hub:`` is not followed by ``owner/name``.

    Example
    -------
    >>> find_model("hub:someone/pengi")[1]
    'someone/pengi'
    >>> find_model("modles/pengi")
    Traceback (most recent call last):
    ...
    FileNotFoundError: There is no folder modles/pengi ...
    """
    from pengi_plugin.pretrained.folder import find_folder

    if name.startswith(HUB):
        return find_folder(name)
    if not Path(name).expanduser().exists():
        hint = f" A model of the hub is named {HUB}{name}." if "/" in name else ""
        raise FileNotFoundError(
            f"There is no folder {name} in {Path.cwd()}. Give the folder of a model, "
            f"or {HUB}owner/name for a repository of the Hugging Face hub.{hint}"
        )
    return find_folder(Path(name))


def load_model(args: argparse.Namespace, source=None):
    """Load the model of a folder or ``hub:owner/name`` to a device.

    Arguments
    ---------
    args : argparse.Namespace
        Of ``add_loading``, and ``model``.
    source : FetchSource
        Of ``find_model``, where it has been asked already.
    """
    from pengi_plugin.inference import AudioLanguageModel

    run_opts = {"precision": args.precision}
    if args.device:
        run_opts["device"] = args.device
    return AudioLanguageModel.from_hparams(
        source=source or find_model(args.model),
        trust=args.trust,
        run_opts=run_opts,
        int8=args.int8,
    )
