"""A folder of parts and what writes one in, all parts out, each exactly once.

The same call goes on where an earlier one was interrupted, at any moment: a part is
written again from its beginning, or not at all. This module knows no model.
"""

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tqdm import tqdm

from pengi_plugin.annotation.output import Output, read_part
from pengi_plugin.annotation.workers import in_processes
from pengi_plugin.storage.lock import only_writer

logger = logging.getLogger(__name__)


class Count(NamedTuple):
    """What a folder holds: recordings, rows, and rows that are errors."""

    recordings: int
    rows: int
    errors: int


def complete(
    output: Output,
    settings: Mapping,
    make_work: Callable[[int], Callable[[int, Callable[[], None]], Any]],
    n_worker: int = 1,
    retry_errors: bool = False,
) -> Count:
    """Write the parts that are not there yet.

    Arguments
    ---------
    output : Output
        The folder, and what its parts are of. A part of which a recording has changed
        is written again, with a warning.
    settings : dict
        What the rows depend on besides, as of ``Output.open``. The same must be given
        to go on.
    make_work : callable
        Worker's number -> work: (part, on_recording) writes a part, and calls
        ``on_recording`` behind each recording. With several workers it is called
        once in each, and must be picklable.
    n_worker : int
        Number of processes; 1: this one.
    retry_errors : bool
        Whether parts with an error are done again: files were not there, and are now.

    Returns
    -------
    count : Count
        Of all parts, of this call and of earlier ones.

    Raises
    ------
    ValueError
        If the folder holds answers of other settings, or there are no workers.
    BlockingIOError
        If another living process writes into the folder.
    RuntimeError
        If a worker failed.
    """
    if n_worker < 1:
        raise ValueError(f"workers must be at least 1; got {n_worker}.")

    def write(pending: Sequence[int]) -> None:
        n_pending = sum(len(output.recordings_of(part)) for part in pending)
        n_done = len(output.paths) - n_pending
        with tqdm(total=len(output.paths), initial=n_done, unit="recording") as bar:
            if n_worker > 1:
                for _ in in_processes(make_work, pending, n_worker, bar.update):
                    pass
            elif pending:
                work = make_work(0)
                for part in pending:
                    work(part, bar.update)

    return complete_by(write, output, settings, retry_errors)


def complete_by(
    write: Callable[[Sequence[int]], None],
    output: Output,
    settings: Mapping,
    retry_errors: bool = False,
) -> Count:
    """Let an engine write the parts that are not there yet.

    Arguments
    ---------
    write : callable
        Given the numbers of parts, writes them all.
    output, settings, retry_errors
        See ``complete``, also for what is returned and raised.
    """
    with only_writer(output.folder):
        output.open(settings)
        changed = output.settle_recordings()
        if changed:
            logger.warning(
                "Recordings of %d parts have changed since they were answered: these "
                "parts are written again.",
                len(changed),
            )
        if retry_errors:
            _remove_parts_with_errors(output)
        write(output.pending())
        shutil.rmtree(output.work_folder, ignore_errors=True)
        return _count(output)


def _remove_parts_with_errors(output: Output) -> None:
    for part in set(range(output.n_part)) - set(output.pending()):
        path = output.path_of(part)
        if any(row["error"] is not None for row in read_part(path)):
            path.unlink()


def _count(output: Output) -> Count:
    n_row = n_error = 0
    for part in range(output.n_part):
        for row in read_part(output.path_of(part)):
            n_row += 1
            n_error += row["error"] is not None
    return Count(len(output.paths), n_row, n_error)
