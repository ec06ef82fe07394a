"""Calls of several threads in, one call for many of them out, each with its result."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Lock
from typing import Any


class Together:
    """Answer what several threads ask at the same time in one call.

    Whoever's turn it is answers for those who wait, so there is no thread to start or
    to end, and no waiting for others who may not come.

    Arguments
    ---------
    answer : callable
        Items -> a result for each, in order. Only one call runs at a time.
    batch_size : int
        Items of a call, at most.

    Example
    -------
    >>> double = Together(lambda items: [2 * item for item in items], batch_size=8)
    >>> double(3)
    6
    """

    def __init__(self, answer: Callable[[Sequence], Sequence], batch_size: int):
        self.answer, self.batch_size = answer, batch_size
        self._waiting: deque[tuple[Any, Future]] = deque()
        self._turn = Lock()

    def __call__(self, item) -> Any:
        """Return the item's result; raise what prevented its batch."""
        mine = Future()
        self._waiting.append((item, mine))
        while not mine.done():  # more may have waited than one batch holds
            with self._turn:
                if not mine.done():
                    self._answer_next()
        return mine.result()

    def _answer_next(self) -> None:
        n_item = min(len(self._waiting), self.batch_size)
        batch = [self._waiting.popleft() for _ in range(n_item)]
        try:
            results = self.answer([item for item, _ in batch])
            for (_, future), result in zip(batch, results, strict=True):
                future.set_result(result)
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
