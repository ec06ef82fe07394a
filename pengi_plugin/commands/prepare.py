"""pengi prepare CORPUS DATA_FOLDER MANIFEST_FOLDER"""

import argparse
import importlib
import pkgutil
from pathlib import Path


def run(given) -> int:
    """Write the manifests of a corpus."""
    module = importlib.import_module(f"pengi_plugin.corpora.{given.corpus}")
    function = getattr(module, f"prepare_{given.corpus}")
    function(given.data_folder, given.manifest_folder)
    return 0


def corpora() -> list[str]:
    """Return the names of the corpora that can be prepared."""
    package = importlib.import_module("pengi_plugin.corpora")
    folder = Path(package.__path__[0])
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    return [
        name
        for name in sorted(names)
        if f"def prepare_{name}(" in _source(folder, name)
    ]


def _source(folder: Path, name: str) -> str:
    """Return the text of a corpus that is a module or a package."""
    path = folder / f"{name}.py"
    path = path if path.is_file() else folder / name / "__init__.py"
    return path.read_text(encoding="utf-8")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    command.add_argument("corpus", choices=corpora(), metavar="corpus")
    command.add_argument("data_folder")
    command.add_argument("manifest_folder")
    command.epilog = f"corpora: {', '.join(corpora())}"
