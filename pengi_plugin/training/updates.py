"""The batches of an epoch in, the same in the groups that make an update out."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice


class Updates:
    """Batches that are known a whole update ahead.

    The mean over an update of several accumulated batches divides by what all of them
    hold, which must be known when the first of them is learned from.

    Arguments
    ---------
    batches : DataLoader
        The batches of an epoch.
    n_batch : int
        How many are accumulated for an update.
    begin : callable
        Is given the batches of each update before the first of them comes.

    Example
    -------
    >>> for number in Updates([1, 2, 3, 4, 5], 2, begin=print):
    ...     print(number)
    [1, 2]
    1
    2
    [3, 4]
    3
    4
    [5]
    5
    """

    def __init__(self, batches: Sequence, n_batch: int, begin: Callable[[list], None]):
        self.batches = batches
        self.n_batch = n_batch
        self.begin = begin

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator:
        batches = iter(self.batches)
        while update := list(islice(batches, self.n_batch)):
            self.begin(update)
            while update:
                yield update.pop(0)  # not kept: a batch takes memory of the device
