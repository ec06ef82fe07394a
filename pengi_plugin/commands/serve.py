"""pengi serve MODEL

Serves the model over HTTP: audio and a prompt in one request, the answer as JSON.
"""

import argparse
from functools import partial

from pengi_plugin.commands.model import add_loading, find_model, load_model

MISSING = (
    "pengi serve needs litserve: pip install 'pengi-plugin[serve]', or "
    "pip install '.[serve]' in a clone."
)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    command.add_argument("model", help="folder, or hub:owner/name")
    add_loading(command)
    command.add_argument(
        "--host",
        choices=("127.0.0.1", "0.0.0.0", "::"),
        default="127.0.0.1",
        help="where to listen: this machine alone by default",
    )
    command.add_argument("--port", type=int, default=8000)
    command.add_argument(
        "--batch-size", type=int, default=8, help="requests answered together"
    )
    command.add_argument(
        "--batch-wait",
        type=float,
        default=0.01,
        help="seconds that a request waits for others to be answered with",
    )
    command.add_argument(
        "--max-megabytes", type=float, default=20, help="largest audio file"
    )
    command.add_argument(
        "--max-seconds", type=float, default=300, help="longest recording"
    )
    command.add_argument(
        "--max-wait",
        type=float,
        default=60,
        help="seconds that a request may wait for its turn before it is answered 504",
    )


def run(args: argparse.Namespace) -> int:
    """Serve the model over HTTP."""
    try:
        from pengi_plugin.serving.api import PengiAPI
        from pengi_plugin.serving.server import make_server, run_server
    except ImportError as error:
        raise ValueError(MISSING) from error
    from pengi_plugin.serving.limits import Limits
    from pengi_plugin.storage.fingerprint import fingerprint

    if not 0 <= args.batch_wait < args.max_wait:
        raise ValueError(
            "--batch-wait must be at least 0 and less than --max-wait; got "
            f"{args.batch_wait} and {args.max_wait} seconds."
        )
    limits = Limits(
        max_bytes=round(args.max_megabytes * 1e6),
        max_seconds=args.max_seconds,
        max_wait=args.max_wait,
    )
    source = find_model(args.model)
    model = load_model(args, source)  # says here what is wrong with it
    about = {
        "model": fingerprint(source),
        "precision": model.precision,  # the folder's digest is the same for all
        "int8": model.is_int8,
    }
    info = {
        **about,
        "sample_rate": model.hparams.sample_rate,
        "clip_seconds": model.hparams.clip_seconds,
        "default_prompt": model.hparams.default_prompt,
        "limits": vars(limits),
    }
    del model
    load = partial(load_model, args, source)
    api = PengiAPI(load, about, limits, args.batch_size, args.batch_wait)
    run_server(make_server(api, info), args.host, args.port)
    return 0
