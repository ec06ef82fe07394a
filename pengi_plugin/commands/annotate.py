"""pengi annotate MODEL INPUT OUTPUT --prompts PROMPT...

Writes the answers to several prompts about every window of every recording of an
archive, as a folder of JSON lines or Parquet. The same command goes on where it was
interrupted.
"""

import argparse
import os
import sys

from pengi_plugin.commands.ask import SEARCH
from pengi_plugin.commands.files import files_of_folder, has_audio
from pengi_plugin.commands.model import add_trust, find_model


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    command.add_argument("model", help="folder, or hub:owner/name")
    command.add_argument(
        "input",
        help="a folder of audio files or of shards, a shard (.tar), a manifest (.json "
        "or .csv), a file with a path on each line, or - for such a list on standard "
        "input",
    )
    command.add_argument(
        "output", help="folder of the answers; made if it is not there"
    )
    command.add_argument("--prompts", nargs="+", required=True, metavar="PROMPT")
    command.add_argument(
        "--windows",
        choices=("all", "first"),
        default="all",
        help="answer about all windows of a long recording (default), or its first",
    )
    command.add_argument("--format", choices=("jsonl", "parquet"), default="jsonl")
    command.add_argument(
        "--workers", type=int, default=1, help="processes (Ray: actors), a model each"
    )
    command.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="ray: Ray Data, on the cluster that RAY_ADDRESS names or on this machine "
        "(needs the extra ray)",
    )
    command.add_argument(
        "--batch-size", type=int, default=8, help="windows that are encoded at a time"
    )
    command.add_argument(
        "--part-size",
        type=int,
        default=64,
        help="recordings per part, the most that is done again after an interruption; "
        "give 1 for recordings of hours",
    )
    command.add_argument(
        "--retry-errors",
        action="store_true",
        help="do the parts again in which a recording could not be read",
    )
    command.add_argument(
        "--device", help="such as cpu or cuda:1; a GPU if there is one by default"
    )
    command.add_argument(
        "--precision", choices=("fp32", "fp16", "bf16"), default="fp32"
    )
    add_trust(command)
    command.add_argument(
        "--int8", action="store_true", help="weights of 8 bits: faster on CPUs"
    )
    for name, (kind, text) in SEARCH.items():
        command.add_argument(f"--{name.replace('_', '-')}", type=kind, help=text)


def run(args: argparse.Namespace) -> int:
    """Answer prompts about an archive; go on after an interruption."""
    import torch

    from pengi_plugin.annotation.answerer import Answerer, PartWriter
    from pengi_plugin.annotation.output import Output
    from pengi_plugin.annotation.run import complete

    search = {name: getattr(args, name) for name in SEARCH}
    model = find_model(args.model)
    run_opts = {"precision": args.precision}
    if args.device:
        run_opts["device"] = args.device
    output = Output(
        os.path.expanduser(args.output),
        tuple(recordings_of(args.input)),
        args.format,
        args.part_size,
    )
    n_thread = max(1, torch.get_num_threads() // max(args.workers, 1))
    answerer = Answerer(
        model,
        tuple(args.prompts),
        args.windows,
        {name: value for name, value in search.items() if value is not None},
        args.batch_size,
        run_opts,
        n_thread if args.workers > 1 else None,
        args.trust,
        args.int8,
    )
    settings = answerer.settings()
    if args.engine == "ray":
        from pengi_plugin.annotation.ray_engine import complete_on_ray

        count = complete_on_ray(
            output, settings, answerer, args.workers, args.retry_errors
        )
    else:
        work = PartWriter(output, answerer)
        count = complete(output, settings, work, args.workers, args.retry_errors)
    print(
        f"{args.output}: {count.rows} rows of {count.recordings} recordings, "
        f"{count.errors} of them errors"
    )
    return 1 if count.errors else 0


def recordings_of(source: str) -> list[str]:
    """Return the recordings of a folder, a shard, a manifest, a list, or standard
    input (-). Of a folder with audio files, its tars are no part.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    """
    from pengi_plugin.annotation.inputs import listed, of_manifest, of_shards, shards_of

    if source == "-":
        sys.stdin.reconfigure(errors="surrogateescape")  # a name that is no UTF-8
        return listed(sys.stdin)
    path = os.path.expanduser(source)
    if os.path.isdir(path):
        shards = shards_of(path)
        if shards and not has_audio(path):
            return of_shards(shards)
        return files_of_folder(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"There is no file or folder {source}.")
    if path.endswith((".json", ".csv")):
        return of_manifest(path)
    if path.endswith(".tar"):
        return of_shards([path])
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return listed(file)
