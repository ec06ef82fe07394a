"""pengi demo MODEL

Serves a page on which people try the model: record or upload a sound, choose a task or
type a question, see the answer.
"""

import argparse
import signal
import tempfile
from contextlib import suppress
from pathlib import Path

from pengi_plugin.commands.model import add_loading, find_model, load_model


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    command.add_argument("model", help="folder, or hub:owner/name")
    add_loading(command)
    command.add_argument(
        "--host",
        default="127.0.0.1",
        help="where to listen: this machine alone by default, 0.0.0.0 for all",
    )
    command.add_argument(
        "--port", type=int, help="by default the first free one from 7860 on"
    )
    command.add_argument(
        "--max-megabytes", type=float, default=20, help="largest file of a visitor"
    )
    command.add_argument(
        "--max-seconds", type=float, default=60, help="longest recording of a visitor"
    )
    command.add_argument(
        "--batch-size", type=int, default=8, help="visitors answered at a time"
    )
    command.add_argument(
        "--no-examples", action="store_true", help="do not render example sounds"
    )


def run(args: argparse.Namespace) -> int:
    """Serve a page on which people try the model."""
    from speechbrain.utils.fetching import FetchFrom

    from pengi_plugin.demo.examples import make_examples
    from pengi_plugin.demo.page import Limits, import_gradio, launch, make_page

    import_gradio()  # says at once if it is missing
    limits = Limits(args.max_megabytes, args.max_seconds, args.batch_size)
    kind, name = source = find_model(args.model)
    model = load_model(args, source)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    with tempfile.TemporaryDirectory() as folder, suppress(KeyboardInterrupt):
        examples = [] if args.no_examples else make_examples(Path(folder))
        title = Path(name).name if kind == FetchFrom.LOCAL else name
        page = make_page(model, limits, examples, title)
        launch(page, limits, args.host, args.port)
    return 0
