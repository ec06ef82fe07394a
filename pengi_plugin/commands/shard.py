"""pengi shard MANIFESTS OUT [--shard-size 1GiB] [--format flac|opus|wav] ...

Stores the clips of a folder of manifests in uncompressed tars in webdataset's layout,
each clip once, and writes manifests to OUT that name the clips in them. The same
command goes on where it was interrupted.
"""

import argparse
import os
import re
import sys

#: Clips in no shard that are printed; the others are in the list.
N_PRINTED = 20

#: Unit -> bytes.
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    command.add_argument(
        "manifests", help="folder with train, valid or test; subfolders: corpora"
    )
    command.add_argument("out", help="folder of the shards; made if it is not there")
    command.add_argument(
        "--shard-size",
        type=n_byte,
        default="1GiB",
        help="largest size of a shard (1GiB)",
    )
    command.add_argument(
        "--format",
        choices=("flac", "opus", "wav"),
        help="by default files are stored as they are; FLAC and WAV lose nothing at "
        "the file's rate",
    )
    command.add_argument(
        "--sample-rate",
        type=int,
        metavar="HZ",
        help="mix to mono and resample once, now (FLAC by default): the model's rate "
        "makes training cheaper",
    )
    command.add_argument(
        "--workers", type=int, default=os.cpu_count(), help="clips encoded at a time"
    )


def n_byte(text: str) -> int:
    """Read a size in bytes.

    Example
    -------
    >>> n_byte("1GiB"), n_byte("1.5 MB"), n_byte("2000")
    (1073741824, 1500000, 2000)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?B?)", text.strip().upper())
    if not match or match[2] not in UNITS:
        raise argparse.ArgumentTypeError(f"give a size such as 1GiB; got {text!r}")
    return int(float(match[1]) * UNITS[match[2]])


def run(args: argparse.Namespace) -> int:
    """Store the clips of manifests in tars that are read as quickly as one file."""
    from pengi_plugin.data.sharding import LEFT_OUT, Options, shard_manifests

    out = os.path.expanduser(args.out)
    options = Options(args.shard_size, args.format, args.sample_rate)
    manifests = os.path.expanduser(args.manifests)
    count, left_out = shard_manifests(manifests, out, options, args.workers)
    print(
        f"{args.out}: {count.clips} clips in {count.shards} shards, "
        f"{count.n_byte / 2**30:.3f} GiB; {count.rows} rows"
    )
    if count.n_clipped:
        print(
            f"{count.n_clipped} samples were beyond full scale after resampling and "
            "were cut there; --format wav keeps them"
        )
    for manifest, wav, reason in left_out[:N_PRINTED]:
        print(f"{manifest}: {wav}: {reason}", file=sys.stderr)
    if left_out:
        print(
            f"{len(left_out)} clips are in no shard, nor are their rows in the new "
            f"manifests; all are listed in {os.path.join(args.out, LEFT_OUT)}",
            file=sys.stderr,
        )
    return 1 if left_out else 0
