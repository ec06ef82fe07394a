"""Names and shapes of a released checkpoint in, its sizes out, or its faults by name.

The tables are in ``released``. This file counts layers, infers the size that each
word of the tables stands for, and compares every shape with the table.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from math import isqrt, prod

from pengi_plugin.conversion import released

#: How many faults an error message lists.
MAX_LISTED = 20

Layout = dict[str, dict[str, str]]
Shapes = dict[str, tuple[int, ...]]


def check_layout(shapes: Shapes) -> tuple[dict, list[str]]:
    """Read the sizes of a released checkpoint and compare all of its shapes.

    Arguments
    ---------
    shapes : dict
        Released name (without ``module.``) -> shape.

    Returns
    -------
    sizes : dict
        What the words of ``released.LAYOUT`` stand for, such as ``d_model``; how
        many blocks each audio stage has (``depths``); and the numbers of layers
        that ``released.LAYER_COUNTS`` names.
    names : list of str
        All names of learned values, in the order of the tables.

    Raises
    ------
    ValueError
        If a key is missing, unexpected or wrongly shaped; names them.
    """
    layout, derived = released.LAYOUT, released.DERIVED
    if any(name.startswith("caption_encoder.") for name in shapes):
        layout = merged(layout, released.LAYOUT_OF_TEXT_ENCODER)
        derived = merged(derived, released.DERIVED_OF_TEXT_ENCODER)
    counts = {prefix: count(prefix, rows, shapes) for prefix, rows in layout.items()}
    depths = counts[released.AUDIO_BLOCK]
    counts[released.AUDIO_DOWNSAMPLE] = [len(depths) - 1]
    rows = expand(layout, counts)
    biases = [name for name in rows if re.fullmatch(released.ZERO_IF_ABSENT, name)]
    all_absent = not any(name in shapes for name in biases)
    sizes, faults = infer_sizes(rows, shapes)
    optional = expand(derived, counts)
    if all_absent:
        optional |= {name: rows.pop(name) for name in biases}
    faults += compare(rows, optional, shapes, sizes)
    if faults:
        listed = "".join(f"\n  {fault}" for fault in faults[:MAX_LISTED])
        more = len(faults) - MAX_LISTED
        raise ValueError(
            "This is not the layout of a released Pengi checkpoint:"
            + listed
            + (f"\n  and {more} more" if more > 0 else "")
        )
    sizes["depths"] = depths
    for name, prefix in released.LAYER_COUNTS.items():
        if prefix in counts:
            sizes[name] = counts[prefix][0]
    return sizes, list(rows) + (biases if all_absent else [])


def merged(first: Layout, second: Layout) -> Layout:
    """Return the rows of both layouts, prefix by prefix."""
    return {
        prefix: first.get(prefix, {}) | second.get(prefix, {})
        for prefix in first | second
    }


def count(prefix: str, rows: dict[str, str], names: Iterable[str]) -> list[int]:
    """Count how often a group of rows occurs, for instance layers.

    A layer counts if at least half of its rows are there, so that a single unexpected
    or missing key is reported as such.

    Returns
    -------
    counts : list of int
        ``[]`` for a prefix without number, ``[n]`` for one number, and for two
        numbers one count for each value of the first.

    Example
    -------
    >>> count("h.{layer}.", {"a": "", "b": ""}, ["h.0.a", "h.0.b", "h.1.a", "h.7.b"])
    [2]
    """
    number = re.sub(r"\\\{\w+\\\}", r"(\\d+)", re.escape(prefix))
    found = Counter()
    for name in names:
        match = re.match(number, name)
        if match and name[match.end() :] in rows:
            found[tuple(map(int, match.groups()))] += 1
    there = [index for index, n in found.items() if 2 * n >= len(rows)]
    if prefix.count("{") == 0:
        return []
    if prefix.count("{") == 1:
        return [run_length(n for (n,) in there)]
    n_first = run_length(first for first, _ in there)
    return [run_length(b for a, b in there if a == first) for first in range(n_first)]


def run_length(numbers: Iterable[int]) -> int:
    """Return how many of 0, 1, 2, ... are there without a gap, at least 1."""
    numbers = set(numbers)
    n = 0
    while n in numbers:
        n += 1
    return max(n, 1)


def expand(layout: Layout, counts: dict[str, list[int]]) -> dict[str, str]:
    """Return full name -> shape, with every number and every scale filled in."""
    top = 2 ** (len(counts[released.AUDIO_BLOCK]) - 1)
    rows = {}
    for prefix, group in layout.items():
        for index in indices(counts[prefix], prefix.count("{")):
            start = re.sub(r"\{\w+\}", "{}", prefix).format(*index)
            scale = 2 ** index[0] if "{stage}" in prefix else 1
            for name, shape in group.items():
                shape = shape.replace("scale", str(scale)).replace("top", str(top))
                rows[start + name] = shape
    return rows


def indices(counts: list[int], n_number: int) -> list[tuple[int, ...]]:
    """Return the numbers that a prefix takes, in order."""
    if n_number == 0:
        return [()]
    if n_number == 1:
        return [(n,) for n in range(counts[0])]
    return [(first, n) for first, most in enumerate(counts) for n in range(most)]


def infer_sizes(
    rows: dict[str, str], shapes: Shapes
) -> tuple[dict[str, int], list[str]]:
    """Find the size that each word stands for: the one that most shapes imply.

    Taking the commonest means that a wrong shape is reported under its own key, not
    under all the others. Words inside products follow in the second pass, when the
    other factors are known.

    Returns
    -------
    sizes : dict
        Word -> size.
    faults : list of str
        Words for which two sizes are implied equally often.
    """
    sizes: dict[str, int] = {}
    for _ in range(2):
        implied = defaultdict(lambda: defaultdict(list))
        for name, row in rows.items():
            terms = row.split()
            if len(terms) != len(shapes.get(name, [None] * (len(terms) + 1))):
                continue
            for term, size in zip(terms, shapes[name]):
                for word, value in implied_sizes(term, size, sizes):
                    implied[word][value].append(name)
        sizes = {
            word: max(names_of, key=lambda value: len(names_of[value]))
            for word, names_of in implied.items()
        }
    faults = []
    for word, names_of in implied.items():
        most = sorted(names_of.items(), key=lambda item: -len(item[1]))[:2]
        if len(most) == 2 and len(most[0][1]) == len(most[1][1]):
            faults.append(
                f"{word} is "
                + " but ".join(f"{value} by {', '.join(by)}" for value, by in most)
            )
    return sizes | attention_sizes(sizes), faults


def attention_sizes(sizes: dict[str, int]) -> dict[str, int]:
    """Return the sizes of HTSAT's attention that derived buffers have.

    Example
    -------
    >>> attention_sizes({"n_offset": 225, "patch": 4})["window"]
    8
    """
    if not sizes.get("n_offset") or not sizes.get("patch"):
        return {}
    window = (isqrt(sizes["n_offset"]) + 1) // 2
    side = released.SPEC_SIZE // sizes["patch"]
    n_window = {
        f"n_window_{scale}": (side // scale // window) ** 2 for scale in (1, 2, 4, 8)
    }
    return {"window": window, "n_token": window**2, **n_window}


def implied_sizes(term: str, size: int, known: dict[str, int]) -> list[tuple[str, int]]:
    """Return the sizes of a term's words that follow from the size of the term.

    Example
    -------
    >>> implied_sizes("3*d_model", 24, {})
    [('d_model', 8)]
    >>> implied_sizes("n_prefix*d_model", 24, {})
    []
    >>> implied_sizes("n_prefix*d_model", 24, {"n_prefix": 3, "d_model": 7})
    [('n_prefix', 0), ('d_model', 8)]
    """
    factors = term.split("*")
    words = [factor for factor in factors if not factor.isdigit()]
    sizes = []
    for word in words:
        others = [f for f in factors if f != word]
        if all(other.isdigit() or other in known for other in others):
            divisor = prod(value_of(other, known) for other in others)
            sizes.append((word, size // divisor if size % divisor == 0 else 0))
    return sizes


def value_of(factor: str, sizes: dict[str, int]) -> int:
    """Return a number or the size that a word stands for."""
    return int(factor) if factor.isdigit() else sizes[factor]


def compare(
    rows: dict[str, str],
    optional: dict[str, str],
    shapes: Shapes,
    sizes: dict[str, int],
) -> list[str]:
    """Return a sentence for each missing, unexpected or wrongly shaped key."""
    faults = [f"{name} is missing" for name in rows if name not in shapes]
    for name, shape in shapes.items():
        row = rows.get(name, optional.get(name))
        if row is None:
            faults.append(f"{name} is unexpected")
            continue
        expected = [evaluate(term, sizes) for term in row.split()]
        if expected != [str(size) for size in shape]:
            faults.append(
                f"{name} has shape {list(shape)}, not [{', '.join(expected)}]"
            )
    return faults


def evaluate(term: str, sizes: dict[str, int]) -> str:
    """Return a term's size as text, or the term if a word is unknown."""
    factors = term.split("*")
    if all(factor.isdigit() or factor in sizes for factor in factors):
        return str(prod(value_of(factor, sizes) for factor in factors))
    return term
