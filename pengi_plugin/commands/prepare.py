"""pengi prepare CORPUS DATA_FOLDER MANIFEST_FOLDER, or pengi prepare --list

Writes the manifests of a corpus, by the function ``prepare_CORPUS`` of its module in
``corpora``; or prints the names of all corpora.
"""

import argparse
import importlib
import pkgutil
from pathlib import Path


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    command.add_argument("--list", action=ListCorpora, help="print all corpora")
    command.add_argument("corpus", choices=corpora(), metavar="corpus")
    command.add_argument("data_folder", help="the corpus as it was downloaded")
    command.add_argument("manifest_folder", help="where the manifests are written")


def run(args: argparse.Namespace) -> int:
    """Write the manifests of a corpus."""
    module = importlib.import_module(f"pengi_plugin.corpora.{args.corpus}")
    prepare = getattr(module, f"prepare_{args.corpus}")
    prepare(args.data_folder, args.manifest_folder)
    return 0


class ListCorpora(argparse.Action):
    """Print the names of the corpora, one per line, and exit, as ``--help`` does."""

    def __init__(self, option_strings, dest, **options):
        super().__init__(option_strings, dest, nargs=0, **options)

    def __call__(self, parser, namespace, values, option_string=None):
        """Print and exit."""
        print(*corpora(), sep="\n")
        parser.exit()


def corpora() -> list[str]:
    """Return the names of the modules of ``corpora`` that have such a function.

    Their source is searched and not imported, so that ``pengi --help`` is quick.
    """
    package = importlib.import_module("pengi_plugin.corpora")
    return sorted(
        name
        for finder, name, _ in pkgutil.iter_modules(package.__path__)
        if f"def prepare_{name}(" in source(Path(finder.path), name)
    )


def source(folder: Path, name: str) -> str:
    """Return the source of a corpus that is a module or a package."""
    path = folder / f"{name}.py"
    path = path if path.is_file() else folder / name / "__init__.py"
    return path.read_text(encoding="utf-8")
