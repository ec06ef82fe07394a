"""What the package and the recipes import is what ``setup.cfg`` declares."""

import ast
import configparser
import re
import sys
from importlib.metadata import packages_distributions

import pytest

#: Needed without an import statement: the package whose sound font is found as a
#: file, and what SpeechBrain's TensorboardLogger loads.
FOUND_OTHERWISE = {"pretty-midi", "tensorboard"}

#: Module -> distribution, of optional ones, which need not be installed here.
NAMES = (
    *("pycocoevalcap", "matplotlib", "peft", "fsspec"),
    *("gradio", "litserve", "fastapi", "starlette"),
    *("onnx", "onnxruntime", "onnxscript", "ray"),
)
OPTIONAL = {name: name for name in NAMES} | {"imageio_ffmpeg": "imageio-ffmpeg"}


def normalized(requirement):
    """Return the distribution's name as PEP 503 spells it."""
    name = re.match(r"[\w.-]+", requirement)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(root, section, key=None):
    config = configparser.ConfigParser()
    config.read(root / "setup.cfg")
    keys = [key] if key else config[section]
    lines = [line for key in keys for line in config[section][key].splitlines()]
    return {normalized(line) for line in lines if line}


def sources(root):
    return [
        path
        for folder in ("pengi_plugin", "recipes")
        for path in sorted((root / folder).rglob("*.py"))
    ]


def imported_modules(path):
    """Return the full names of what a file imports from elsewhere."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def distributions_of(root):
    """Return distribution -> a file that imports it, for all that is imported."""
    installed = packages_distributions()
    own = {"pengi_plugin", "recipes", *(path.stem for path in sources(root))}
    found = {}
    for path in sources(root):
        for name in imported_modules(path):
            top = name.split(".")[0]
            if top in sys.stdlib_module_names or top in own:
                continue
            if top in OPTIONAL:
                found[OPTIONAL[top]] = path
                continue
            assert top in installed, f"{path} imports {name}, which is not installed"
            names = {normalized(each) for each in installed[top]}
            # ruamel.yaml.clib shares its namespace with ruamel.yaml.
            found[min(names, key=len)] = path
    return found


def test_all_that_is_imported_is_declared(root):
    given = declared(root, "options", "install_requires")
    optional = declared(root, "options.extras_require")
    for name, path in distributions_of(root).items():
        expected = optional if name in OPTIONAL.values() else given
        assert name in expected, f"{path.relative_to(root)} imports {name}: declare it"


def test_all_that_is_declared_is_needed(root):
    given = declared(root, "options", "install_requires")
    assert given - distributions_of(root).keys() == FOUND_OTHERWISE


@pytest.mark.parametrize("folder", ["pengi_plugin", "recipes"])
def test_importing_a_module_changes_nothing_in_the_process(folder, root):
    """Neither a call for its effect nor an assignment into something imported."""
    for path in sorted((root / folder).rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
            targets = getattr(node, "targets", [])
            changes = any(isinstance(t, ast.Subscript | ast.Attribute) for t in targets)
            assert not is_call, f"{path}:{node.lineno}"
            assert not changes, f"{path}:{node.lineno}"
