"""Numbers of parts in, parts written out, by processes that each hold a model.

A worker ends at once when its parent ends, however that ends, so that none writes
into a folder that another command has taken up.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from typing import Any


def in_processes(
    make_work: Callable[[int], Callable[[int, Callable[[], None]], Any]],
    parts: Sequence[int],
    n_worker: int,
    on_recording: Callable[[], None],
) -> Iterator:
    """Yield the result of each part, in the order in which they are done.

    Arguments
    ---------
    make_work : callable
        Worker's number -> work: (part, on_recording) -> result. It is called once in
        each worker, and must be picklable.
    parts : list of int
        What is to be done.
    n_worker : int
        Number of processes; at most one for each part is started.
    on_recording : callable
        Called here, for each call in a worker.

    Raises
    ------
    RuntimeError
        If a worker failed or was killed.
    """
    context = multiprocessing.get_context("spawn")  # a fork breaks CUDA and threads
    waiting, workers = list(reversed(parts)), {}
    try:
        for number in range(min(n_worker, len(parts))):
            here, there = context.Pipe()
            arguments = (make_work, number, there)
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            there.close()  # so that the pipe ends when the worker does
            workers[here] = process
            here.send(waiting.pop())
        while workers:
            for here in connection.wait(list(workers)):
                kind, value = _receive(here, workers[here])
                if kind == "recording":
                    on_recording()
                    continue
                yield value
                if waiting:
                    here.send(waiting.pop())
                else:
                    here.send(None)
                    workers.pop(here).join()
    finally:
        for process in workers.values():
            process.kill()
            process.join()


def _receive(pipe, process) -> tuple[str, Any]:
    try:
        kind, value = pipe.recv()
    except (EOFError, ConnectionError):
        process.join()
        raise RuntimeError(
            f"A worker process ended with the code {process.exitcode}; minus 9 often "
            "means that memory was short: give fewer workers or a smaller batch. "
            "The same command goes on."
        ) from None
    if kind == "error":
        raise value
    return kind, value


def _serve(make_work, number: int, pipe) -> None:
    """Do the parts that the parent sends, until it sends None."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work = make_work(number)
        while (part := pipe.recv()) is not None:
            result = work(part, lambda: pipe.send(("recording", None)))
            pipe.send(("done", result))
    except Exception as error:
        pipe.send(("error", RuntimeError(f"{type(error).__name__}: {error}")))


def _end_with_parent() -> None:
    connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
