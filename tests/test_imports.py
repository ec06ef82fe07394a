"""Imports inside the package point one way, and never to the recipes."""

import ast

import pytest

#: Part of the package -> the parts that it may import.
ALLOWED = {
    "assets": set(),
    "tasks": set(),
    "metrics": set(),
    "corpora": set(),
    "lobes": set(),
    "decoders": set(),
    "checkpoints": set(),
    "clips": set(),
    "texts": set(),
    "scores": {"texts"},
    "files": {"clips", "texts"},
    "classify": {"files"},
    "dataio": {"tasks"},
    "protocols": {"metrics", "tasks"},
    "pretrained": {"checkpoints", "lobes"},
    "training": set(),
}


def own_imports(path):
    """Return the parts of our package that a file imports."""
    parts = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        parts |= {name.split(".")[1] for name in names if name[:13] == "pengi_plugin."}
        parts |= {"recipes" for name in names if name.split(".")[0] == "recipes"}
    return parts


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_a_part_imports_only_what_lies_upstream(part, root):
    package = root / "pengi_plugin"
    files = [*(package / part).glob("*.py")] or [package / f"{part}.py"]
    for path in files:
        beyond = own_imports(path) - ALLOWED[part] - {part}
        assert not beyond, f"{path.name} imports {sorted(beyond)}"


def test_the_package_never_imports_recipes(root):
    for path in (root / "pengi_plugin").rglob("*.py"):
        assert "recipes" not in own_imports(path), path.name
