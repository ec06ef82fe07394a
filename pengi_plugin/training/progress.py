"""Times of updates and validations in, how long a run will take out."""

import time
from collections.abc import Mapping
from statistics import fmean

#: The time is told after this many updates of a process, of which the first ones,
#: when memory is allocated and files come into the cache, are not measured.
N_TIMED, N_WARM = 20, 5


def time_left(
    n_update: int,
    update_seconds: float,
    n_validation: int,
    validation_seconds: float | None = None,
    shorter: Mapping[str, object] | None = None,
) -> str:
    """Say how long the rest of a training takes, and what would make it shorter.

    Arguments
    ---------
    n_update : int
        Updates left.
    update_seconds : float
        Mean time of an update in s.
    n_validation : int
        Validations left.
    validation_seconds : float
        Time of a validation in s; None if there was none yet.
    shorter : dict
        Name of an option -> its value; a smaller one makes the run shorter.

    Returns
    -------
    message : str

    Example
    -------
    >>> time_left(100, 0.5, 2, 5.0, {"number_of_epochs": 6})
    'Training takes 1 min more: 100 updates of 0.50 s, 2 validations of 5.0 s. To make \
it shorter, lower --number_of_epochs (now 6).'
    >>> time_left(14400, 0.5, 2)
    'Training takes 2 h 0 min more: 14400 updates of 0.50 s, and 2 validations, not \
timed yet.'
    """
    seconds = n_update * update_seconds + n_validation * (validation_seconds or 0.0)
    hours, minutes = divmod(round(seconds / 60), 60)
    length = f"{hours} h {minutes} min" if hours else f"{minutes} min"
    if not hours and not minutes:
        length = f"{seconds:.0f} s"
    parts = f"{n_update} updates of {update_seconds:.2f} s, "
    if validation_seconds is None:
        parts += f"and {n_validation} validations, not timed yet"
    else:
        parts += f"{n_validation} validations of {validation_seconds:.1f} s"
    message = f"Training takes {length} more: {parts}."
    if shorter:
        options = ", ".join(
            f"--{name} (now {value})" for name, value in shorter.items()
        )
        message += f" To make it shorter, lower {options}."
    return message


class Progress:
    """Time a run, and say twice how long it will take.

    Once after ``N_TIMED`` updates, and once after the first validation, which is then
    included; None at all other times.

    Arguments
    ---------
    n_update : int
        Updates of the whole run.
    n_epoch : int
        Epochs of the whole run; each ends with a validation.
    shorter : dict
        See ``time_left``.

    Example
    -------
    >>> progress = Progress(n_update=100, n_epoch=2)
    >>> progress.start_stage()
    >>> told = [progress.end_update(n + 1, epoch=1) for n in range(30)]
    >>> [n + 1 for n, message in enumerate(told) if message]
    [20]
    """

    def __init__(
        self, n_update: int, n_epoch: int, shorter: Mapping[str, object] | None = None
    ):
        self.n_update = n_update
        self.n_epoch = n_epoch
        self.shorter = shorter
        self.durations: list[float] = []
        self.validation_seconds = None

    def start_stage(self) -> None:
        """Note the beginning of an epoch's updates, or of its validation."""
        self.last = time.perf_counter()

    def end_update(self, n_done: int, epoch: int) -> str | None:
        """Note the end of an update, the ``n_done``-th of the run."""
        now = time.perf_counter()
        if len(self.durations) < N_TIMED:
            self.durations.append(now - self.last)
            if len(self.durations) == N_TIMED:
                return self.message(n_done, epoch - 1)
        self.last = now
        return None

    def end_validation(self, n_done: int, epoch: int) -> str | None:
        """Note the end of the validation of an epoch."""
        if self.validation_seconds is not None:
            return None
        self.validation_seconds = time.perf_counter() - self.last
        is_timed = len(self.durations) == N_TIMED and epoch < self.n_epoch
        return self.message(n_done, epoch) if is_timed else None

    def message(self, n_done: int, n_validated: int) -> str:
        """Say how long the rest takes."""
        return time_left(
            self.n_update - n_done,
            fmean(self.durations[N_WARM:]),
            self.n_epoch - n_validated,
            self.validation_seconds,
            self.shorter,
        )
