"""What the processes of a run do together: count, share, gather.

All functions also work in a run of one process.
"""

from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import TypeVar

from torch import distributed

T = TypeVar("T")

#: Where one process has fewer items than another.
NOTHING = object()


def count_processes() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0 on."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def share(items: Sequence[T]) -> Sequence[T]:
    """Return this process's items; each item belongs to exactly one process.

    Example
    -------
    >>> share([3, 1, 2])
    [3, 1, 2]
    """
    return items[rank() :: count_processes()]


def gather(value: T) -> list[T]:
    """Return a value of each process, on all of them."""
    if not distributed.is_initialized():
        return [value]
    gathered = [None] * count_processes()
    distributed.all_gather_object(gathered, value)
    return gathered


def gather_shares(items: Sequence[T]) -> list[T]:
    """Undo ``share``: the items of all processes, in their order, on all of them.

    Example
    -------
    >>> gather_shares([3, 1, 2])
    [3, 1, 2]
    """
    turns = zip_longest(*gather(list(items)), fillvalue=NOTHING)
    return [item for item in chain(*turns) if item is not NOTHING]


def share_of_batches(n_item: int, batch_size: int) -> list[list[int]]:
    """Return this process's batches of items in order, each a list of indices.

    Batches are shared, not items: each is the one that a single process would have,
    so that what is computed within a batch is the same, too.

    Example
    -------
    >>> share_of_batches(n_item=5, batch_size=2)
    [[0, 1], [2, 3], [4]]
    """
    starts = range(0, n_item, batch_size)
    return [
        list(range(start, min(start + batch_size, n_item))) for start in share(starts)
    ]
