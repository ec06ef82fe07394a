"""The command line: ``pengi COMMAND ...``, or ``python -m pengi_plugin COMMAND ...``.

Each command is a module of ``commands``.
"""

import argparse
import importlib
import os
import sys

from pengi_plugin.commands.report import USER_ERRORS, message_of

#: In the order of ``pengi --help``.
COMMANDS = (
    *("prepare", "check", "shard", "convert", "export"),
    *("export-onnx", "push"),
    *("ask", "describe", "classify", "annotate", "demo", "serve"),
)

#: 128 and the number of SIGPIPE: the status that a shell gives to such an end.
CLOSED_PIPE = 141


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Arguments
    ---------
    arguments : list of str
        Arguments of ``pengi``; those of the command line if None.

    Returns
    -------
    status : int
        0; 1 if some files could not be read; 2 if nothing could be done; 141 if who
        reads the answers stopped (``pengi ... | head``), as other programs end then.
    """
    args = make_parser().parse_args(arguments)
    try:
        status = args.run(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # Else the interpreter would report it again when it closes the output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except USER_ERRORS as error:
        print(f"pengi {args.command}: {message_of(error)}", file=sys.stderr)
        return 2


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="pengi", description="Pengi: an audio language model."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in COMMANDS:
        module = importlib.import_module(
            f"pengi_plugin.commands.{name.replace('-', '_')}"
        )
        text = module.run.__doc__.splitlines()[0]
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=module.run)
        module.add_arguments(command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
