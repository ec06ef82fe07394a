#!/usr/bin/env python3
"""Speed and memory of preparing and loading manifests of a simulated AudioSet.

    python recipes/benchmark/preparation.py [--files 200000] [--rows 500000] \
        [--loaded 500000]

Measured are, each in a process of its own: reading the headers of small WAV files with
1 and 2 workers; writing a manifest of clips that share those files; and loading one of
as many rows as asked for. Memory is the process' peak above what it had before.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from pengi_plugin.data import preparation
from pengi_plugin.data.manifest import read_manifest
from pengi_plugin.data.preparation import Clip, Corpus, check_many, write_corpus

CORPUS = Corpus(
    name="simulated",
    title="Simulated AudioSet",
    tasks=("sound_events",),
    clips={"train": None},
    hours=None,
    licence="none",
    home="none",
    use="none",
    citation="none",
)

#: Files of a folder.
N_FOLDER = 1000


def audio_path(folder: Path, index: int) -> Path:
    """Return the path of a file."""
    return folder / "audio" / f"{index // N_FOLDER:04d}" / f"{index:07d}.wav"


def write_files(folder: Path, n_file: int) -> None:
    """Write files of 0.1 s."""
    first = folder / "first.wav"
    soundfile.write(first, np.zeros(1600), 16000)
    content = first.read_bytes()
    for index in range(n_file):
        path = audio_path(folder, index)
        if index % N_FOLDER == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(content)


def clips(folder: Path, n_row: int, n_file: int) -> Iterator[Clip]:
    """Yield clips with two labels each; several share a file where there are fewer."""
    for index in range(n_row):
        labels = ["Speech", f"Sound {index % 527}"]
        yield Clip(
            name=f"{index:011d}",
            split="train",
            path=audio_path(folder, index % n_file),
            rows={"events": {"task": "sound_events", "labels": labels}},
            source=f"youtube:{index:011d}:30",
        )


def read_headers(folder: Path, n_file: int, n_worker: int) -> int:
    """Check all files with a number of workers."""
    preparation.N_WORKER = n_worker
    return len(check_many([audio_path(folder, index) for index in range(n_file)]))


def prepare(folder: Path, n_row: int, n_file: int) -> int:
    """Write a manifest."""
    write_corpus(CORPUS, clips(folder, n_row, n_file), folder, folder / f"m{n_row}", {})
    return n_row


def load(folder: Path, n_row: int) -> int:
    """Load a manifest."""
    return len(read_manifest(folder / f"m{n_row}" / "train.json", "simulated"))


def measured(queue, function, *arguments) -> None:
    """Put the count, the seconds and the MiB of a call on a queue."""
    before = peak()
    start = time.perf_counter()
    n = function(*arguments)
    queue.put((n, time.perf_counter() - start, peak() - before))


def peak() -> float:
    """Return the highest memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux


def measure(what: str, function, *arguments) -> None:
    """Print how long a call takes in a new process, and how much memory."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=measured, args=(queue, function, *arguments))
    process.start()
    n, seconds, mib = queue.get()
    process.join()
    print(f"{what}: {n} in {seconds:.1f} s, {n / seconds:.0f} per s, {mib:.0f} MiB")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--loaded", type=int, default=500_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, n_file = Path(name), options.files
        write_files(folder, n_file)
        read_headers(folder, n_file, 2)  # so that all are in the disk's cache
        for n_worker in (1, 2):
            what = f"headers, {n_worker} workers"
            measure(what, read_headers, folder, n_file, n_worker)
        measure("prepared rows", prepare, folder, options.rows, n_file)
        if options.loaded != options.rows:
            prepare(folder, options.loaded, n_file)
        measure("loaded rows", load, folder, options.loaded)


if __name__ == "__main__":
    main()
