"""How many texts are scored about clips in, how long it will take in the log out."""

import logging
import time

from pengi_plugin.protocols.answer_log import rank_and_world

logger = logging.getLogger(__name__)

#: Scorings from which on it is said how many there are and how long they will take:
#: some minutes on a CPU.
MANY_SCORINGS = 100_000
#: Batches of clips after which the time is estimated; the first one is slower.
N_TIMED = 2


class Clock:
    """Say how many scorings there are, and after some batches how long they take.

    Arguments
    ---------
    n : int
        Scorings of all processes; nothing is said of fewer than ``MANY_SCORINGS``.
    """

    def __init__(self, n: int):
        rank, self.n_process = rank_and_world()
        self.n, self.speaks = n, n >= MANY_SCORINGS and rank == 0
        self.start, self.n_done, self.n_tick = time.monotonic(), 0, 0

    def tick(self, n: int) -> None:
        """Count the scorings of a batch."""
        self.n_done += n
        self.n_tick += 1
        if self.speaks and self.n_tick == N_TIMED:
            seconds = time.monotonic() - self.start
            hours = seconds / max(self.n_done, 1) * self.n / self.n_process / 3600
            logger.warning(
                "%d texts are scored about clips, unless answers are kept from an "
                "earlier run; at the speed of the first %d this takes %.1f hours. "
                "Retrieval with rerank: 100 scores the best 100 clips of each query.",
                *(self.n, self.n_done, hours),
            )
