"""A training's YAML in, the same with the YAML that it includes out.

HyperPyYAML's ``!include:`` puts a file under a key. There, command-line overrides do
not reach its keys, and an object that it builds cannot be one that the including
file builds (the optimizer's model, the checkpointer's counter). What trainings share
needs both, so a training's YAML may begin with

    include: training.yaml

and its keys are then laid over that file's, at the same level, by the rule by which
the command line's are laid over it: a mapping key by key, all else in its place.
"""

import os
from io import StringIO
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from pengi_plugin.pretrained.trust import YamlText

#: The key that names the file to lay the others over, relative to their own file.
INCLUDE = "include"


def read_hparams(path: str | os.PathLike) -> YamlText:
    """Return a training's YAML with what it includes, for ``load_hyperpyyaml``.

    Arguments
    ---------
    path : str
        The file. A file that it includes lies in the same folder and may include
        another.

    Returns
    -------
    text : YamlText
        One flat YAML; its references are not resolved yet.

    Raises
    ------
    FileNotFoundError
        If a file is not there.
    ValueError
        If a file's top level is no mapping.

    Example
    -------
    >>> read_hparams("hparams/pengi_smollm2.yaml").getvalue().count("include: ")
    0
    """
    text = StringIO()
    yaml = YAML()
    yaml.width = 10_000  # a long line is not folded
    yaml.dump(read_tree(Path(path)), text)
    return YamlText(text.getvalue(), path)


def read_tree(path: Path) -> CommentedMap:
    """Return a file's keys laid over those of the file that it includes."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no YAML {path}.")
    tree = YAML().load(path)
    if not isinstance(tree, CommentedMap):
        raise ValueError(f"The top level of {path} must be keys and values.")
    included = tree.pop(INCLUDE, None)
    if included is None:
        return tree
    return overlaid(read_tree(path.parent / included), tree)


def overlaid(below: CommentedMap, above: CommentedMap) -> CommentedMap:
    """Lay a mapping over another: untagged mappings key by key, all else whole.

    Example
    -------
    >>> yaml = YAML()
    >>> below = yaml.load("a: {b: 1, c: 2}\\nd: !new:one {e: 3}")
    >>> above = yaml.load("a: {c: 5}\\nd: !new:other {f: 4}")
    >>> overlaid(below, above)["a"], list(below["d"])
    ({'b': 1, 'c': 5}, ['f'])
    """
    for key, value in above.items():
        old = below.get(key)
        mappings = isinstance(value, CommentedMap) and isinstance(old, CommentedMap)
        if mappings and not value.tag.value:
            overlaid(old, value)
        else:
            below[key] = value
    return below
