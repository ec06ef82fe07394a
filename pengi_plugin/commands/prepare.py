"""pengi prepare CORPUS DATA_FOLDER MANIFEST_FOLDER [--option value ...]

Writes the manifests of a corpus, by the function ``prepare_CORPUS`` of its module in
``corpora``; the options are that function's further arguments, and ``pengi prepare
CORPUS --help`` shows them. ``pengi prepare --list`` prints what is known of
all corpora.
"""

import argparse
import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Callable
from pathlib import Path


class CorpusParser(argparse.ArgumentParser):
    """Parse the arguments of one corpus; its module is imported when it is chosen."""

    def parse_known_args(self, args=None, namespace=None):
        """Declare the arguments, then parse."""
        corpus = self.prog.split()[-1]
        module = importlib.import_module(f"pengi_plugin.corpora.{corpus}")
        function = prepare_function(corpus)
        self.formatter_class = argparse.RawDescriptionHelpFormatter
        self.description = inspect.getdoc(module)
        self.epilog = inspect.getdoc(function)
        self.add_argument("data_folder", help="the corpus as it was downloaded")
        self.add_argument("manifest_folder", help="where the manifests are written")
        for name, (default, settings) in options_of(function).items():
            settings["help"] = f"default: {default}"
            self.add_argument(f"--{name}", default=argparse.SUPPRESS, **settings)
        return super().parse_known_args(args, namespace)


class ListCorpora(argparse.Action):
    """Print a line for each corpus and exit, as ``--help`` does."""

    def __init__(self, option_strings, dest, **options):
        super().__init__(option_strings, dest, nargs=0, **options)

    def __call__(self, parser, namespace, values, option_string=None):
        """Print and exit."""
        print(*corpus_table(), sep="\n")
        parser.exit()


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    command.add_argument(
        "--list", action=ListCorpora, help="print what is known of all corpora"
    )
    names = command.add_subparsers(
        dest="corpus", metavar="corpus", required=True, parser_class=CorpusParser
    )
    for name in corpora():
        names.add_parser(name)


def run(args: argparse.Namespace) -> int:
    """Write the manifests of a corpus."""
    function = prepare_function(args.corpus)
    given = vars(args)
    options = {name: given[name] for name in options_of(function) if name in given}
    function(args.data_folder, args.manifest_folder, **options)
    return 0


def prepare_function(corpus: str) -> Callable:
    """Return ``prepare_CORPUS`` of the corpus' module."""
    module = importlib.import_module(f"pengi_plugin.corpora.{corpus}")
    return getattr(module, f"prepare_{corpus}")


def options_of(function: Callable) -> dict[str, tuple]:
    """Return the options of a function that prepares a corpus.

    Arguments
    ---------
    function : callable
        Its first two arguments are folders.

    Returns
    -------
    options : dict
        Name -> (default, what ``add_argument`` wants to know of its type).

    Example
    -------
    >>> def prepare(data_folder, manifest_folder, fold: int | None = None): ...
    >>> options_of(prepare)
    {'fold': (None, {'type': <class 'int'>})}
    """
    kinds = typing.get_type_hints(function)
    options = {}
    for parameter in list(inspect.signature(function).parameters.values())[2:]:
        kind = kinds.get(parameter.name, str)
        options[parameter.name] = (parameter.default, type_settings(kind))
    return options


def type_settings(kind) -> dict:
    """Return what ``add_argument`` wants to know of a type.

    Example
    -------
    >>> type_settings(list[int])
    {'type': <class 'int'>, 'nargs': '+'}
    """
    if isinstance(kind, types.UnionType):  # X | None
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    if typing.get_origin(kind) in (list, tuple):
        return {"type": typing.get_args(kind)[0], "nargs": "+"}
    return {"type": truth if kind is bool else kind}


def truth(word: str) -> bool:
    """Read ``true`` or ``false``, in any case.

    Example
    -------
    >>> truth("False")
    False
    """
    if word.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"give true or false; got {word!r}")
    return word.lower() == "true"


def corpus_table() -> list[str]:
    """Return a line of column names and one for each corpus, in columns."""
    lines = [("name", "tasks", "clips", "hours", "licence", "home", "in the paper")]
    for name in corpora():
        module = importlib.import_module(f"pengi_plugin.corpora.{name}")
        corpus = getattr(module, "CORPUS", None)
        if corpus is None:  # a user's own module need not have it
            lines.append((name, *["?"] * (len(lines[0]) - 1)))
            continue
        clips = [
            f"{split} {'?' if n is None else n}" for split, n in corpus.clips.items()
        ]
        hours = "?" if corpus.hours is None else f"{corpus.hours:g}"
        lines.append(
            (name, ", ".join(corpus.tasks), ", ".join(clips), hours)
            + (corpus.licence, corpus.home, corpus.use)
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(map(str.ljust, line, widths)).rstrip()  # at least two blanks between
        for line in lines
    ]


def corpora() -> list[str]:
    """Return the names of the modules of ``corpora`` that have such a function.

    Their source is searched and not imported, so that ``pengi --help`` is quick.
    """
    package = importlib.import_module("pengi_plugin.corpora")
    modules = pkgutil.iter_modules(package.__path__)
    return sorted(
        module.name
        for module in modules
        if f"def prepare_{module.name}(" in source(module)
    )


def source(module: pkgutil.ModuleInfo) -> str:
    """Return the source of a corpus that is a module or a package."""
    path = Path(module.module_finder.path, module.name)
    path = path / "__init__.py" if module.ispkg else path.with_suffix(".py")
    return path.read_text(encoding="utf-8")
