"""An entry of a benchmark in, an error out if it has what nothing reads.

A misspelled option would otherwise change nothing, and the score would be of another
set, other labels or another way than its reader believes.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches

#: Keys that every entry has.
REQUIRED = ("title", "protocol", "manifests", "fields")
#: All keys; see ``hparams/benchmark.yaml``.
KEYS = (
    *REQUIRED,
    *("where", "prompt", "separator", "needs", "controls", "published", "get"),
    *("prepare", "source"),
)
#: Names that protocols read; ``fields`` says where a manifest has them.
FIELDS = (
    *("label", "labels", "references", "number", "fold"),
    *("choices", "answer", "kind"),
)
#: Keys of a published figure.
FIGURE = ("metric", "way", "value", "by", "verified")


def check_entry(name: str, entry: Mapping) -> None:
    """Check the keys and options of an entry by their names.

    Arguments
    ---------
    name : str
        Key of the set.
    entry : dict
        See ``protocols.benchmark``.

    Raises
    ------
    ValueError
        If a key is missing or unknown; ``fields`` gives a name that none of our
        protocols reads (others may read any); or the protocol or the preparation has
        no such option.

    Example
    -------
    >>> check_entry("mine", {"titel": "Mine"})
    Traceback (most recent call last):
    ValueError: Entry 'mine' has the unknown key 'titel'; did you mean 'title'?
    """
    what = f"Entry {name!r}"
    _check_names(entry, KEYS, f"{what} has the unknown key")
    missing = [key for key in REQUIRED if key not in entry]
    if missing:
        raise ValueError(f"{what} has no {', '.join(missing)}.")
    for key in ("protocol", "prepare"):
        if key in entry:
            _check_options(entry[key], f"The {key} of entry {name!r}")
    if is_ours(entry["protocol"]):
        _check_names(entry["fields"], FIELDS, f"'fields' of entry {name!r} has")
    published = entry.get("published") or ()
    for figure in () if isinstance(published, str) else published:
        _check_names(figure, FIGURE, f"A published figure of entry {name!r} has")
    separator = entry.get("separator")
    if separator is not None and (not isinstance(separator, str) or not separator):
        raise ValueError(
            f"'separator' of entry {name!r} is the text between two labels; got "
            f"{separator!r}."
        )


def is_ours(protocol: Callable) -> bool:
    """Tell whether a protocol is one of this package."""
    function = getattr(protocol, "func", protocol)
    return getattr(function, "__module__", "").startswith("pengi_plugin.protocols.")


def _check_options(function: Callable, what: str) -> None:
    """Raise ValueError if ``functools.partial`` gives a function what it has not."""
    options = getattr(function, "keywords", {})
    known = inspect.signature(getattr(function, "func", function)).parameters
    if not any(one.kind is one.VAR_KEYWORD for one in known.values()):
        _check_names(options, known, f"{what} has the unknown option")


def _check_names(names: Iterable[str], known: Iterable[str], what: str) -> None:
    known = [*known]
    for name in names:
        if name not in known:
            close = get_close_matches(str(name), known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {known}."
            raise ValueError(f"{what} {name!r}; {hint}")
