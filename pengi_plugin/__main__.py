"""The command line: ``pengi COMMAND ...``, or ``python -m pengi_plugin COMMAND ...``.

Each command is a module of ``commands``.
"""

import argparse
import importlib
import sys

from pengi_plugin.commands.report import USER_ERRORS

#: In the order of ``pengi --help``.
COMMANDS = (
    *("prepare", "check", "convert", "export"),
    *("ask", "describe", "classify", "annotate"),
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Arguments
    ---------
    arguments : list of str
        Arguments of ``pengi``; those of the command line if None.

    Returns
    -------
    status : int
        0; 1 if some files could not be read; 2 if nothing could be done.
    """
    args = make_parser().parse_args(arguments)
    try:
        return args.run(args)
    except USER_ERRORS as error:
        print(f"pengi {args.command}: {error}", file=sys.stderr)
        return 2


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="pengi", description="Pengi: an audio language model."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"pengi_plugin.commands.{name}")
        text = module.run.__doc__.splitlines()[0]
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=module.run)
        module.add_arguments(command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
