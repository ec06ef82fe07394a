"""Imports inside the package point one way, without a circle, never to the recipes."""

import ast
import re
from graphlib import TopologicalSorter

import pytest

#: Room of the package -> the rooms that it may import.
ALLOWED = {
    "storage": set(),
    "assets": set(),
    "tasks": set(),
    "metrics": set(),
    "precision": set(),
    "decoders": set(),
    "lobes": {"storage"},
    "data": {"storage", "tasks"},
    "corpora": {"data", "storage"},
    "protocols": {"metrics", "storage", "tasks"},
    "pretrained": {"assets", "lobes", "storage"},
    "conversion": {"assets", "lobes", "pretrained", "storage"},
    "inference": {
        *("data", "decoders", "lobes", "precision", "pretrained", "storage"),
    },
    "training": {
        *("conversion", "data", "inference", "lobes", "metrics", "precision"),
        *("pretrained", "protocols", "storage", "tasks"),
    },
    "publishing": {
        *("corpora", "inference", "pretrained", "protocols", "storage"),
    },
    "annotation": {"data", "inference", "storage"},
    "demo": {"corpora", "inference", "tasks"},
    "serving": {"inference"},
    "commands": {
        *(
            "annotation",
            "conversion",
            "corpora",
            "data",
            "demo",
            "inference",
            "pretrained",
            "serving",
            "publishing",
            "storage",
        ),
        *("tasks", "training"),
    },
    "__main__": {"commands"},
}


def modules(root):
    """Return dotted name -> path of every module of the package."""
    package = root / "pengi_plugin"
    found = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imported(path, names):
    """Return the modules of ``names`` that a file imports, and 'recipes'.

    Of ``import_module(f"package.{name}")`` the package.
    """
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno} is relative: write it in full"
            pairs = [
                (f"{node.module}.{alias.name}", node.module) for alias in node.names
            ]
        elif isinstance(node, ast.Import):
            pairs = [(alias.name, alias.name) for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("_module"):
            text = re.match(r"""f?["']([\w.]*)""", ast.unparse(node.args[0]))
            package = text[1].rstrip(".") if text else ""
            pairs = [(package, package)]
        else:
            continue
        for full, module in pairs:
            if module.split(".")[0] == "recipes":
                found.add("recipes")
            elif full in names:
                found.add(full)
            elif module in names:
                found.add(module)
    return found


def room(name):
    """Return the first part below the package, '' for the package itself."""
    return (name.split(".") + [""])[1]


def test_every_module_lies_in_a_room_whose_imports_are_ruled(root):
    rooms = {room(name) for name in modules(root)} - {""}
    assert rooms == set(ALLOWED)


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_a_room_imports_only_what_lies_upstream(part, root):
    names = modules(root)
    for name, path in names.items():
        if room(name) == part:
            beyond = {room(other) for other in imported(path, names)}
            beyond -= ALLOWED[part] | {part, ""}
            assert not beyond, f"{path.name} imports {sorted(beyond)}"


def test_the_rules_themselves_have_no_circle():
    list(TopologicalSorter(ALLOWED).static_order())  # raises CycleError


def test_no_module_imports_itself_by_way_of_others(root):
    names = modules(root)
    graph = {name: imported(path, names) - {name} for name, path in names.items()}
    list(TopologicalSorter(graph).static_order())


def test_the_package_never_imports_recipes(root):
    names = modules(root)
    for name, path in names.items():
        assert "recipes" not in imported(path, names), name
