#!/usr/bin/env python3
"""Speed and memory of preparing and loading manifests of a simulated AudioSet.

    python recipes/benchmark/preparation.py [--files 200000] [--rows 2000000] \
        [--loaded 3400000]

Measured are, each in a process of its own: reading the headers of small WAV files with
1 and 2 workers; preparing a manifest of clips that share those files; and, of a
manifest of as many rows as asked for, reading it for the first time, when it is
converted, and again; making the data set and the sampler of a training from it; and
going through all of its rows in two workers at once, as those of a data loader do.
Memory is the highest that a process has for itself (without pages of mapped files,
which processes share) above what it had before; of a worker, what it shares with no
other process.
"""

import argparse
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from pengi_plugin.data import preparation
from pengi_plugin.data.dataset import ClipDataset, make_sampler
from pengi_plugin.data.manifest import read_manifest, write_manifests
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
    paths = (audio_path(folder, index) for index in range(n_file))
    return sum(1 for _ in check_many(paths))


def prepare(folder: Path, n_row: int, n_file: int) -> int:
    """Prepare a corpus."""
    write_corpus(CORPUS, clips(folder, n_row, n_file), folder, folder / "prepared", {})
    return n_row


def write(folder: Path, n_row: int, n_file: int) -> None:
    """Write the manifest that is loaded, of the rows that preparing it would give."""
    rows = (
        (
            f"{clip.name}_events",
            {"wav": f"{{data_root}}/{clip.path.relative_to(folder)}", "duration": 0.1}
            | {"clip": clip.name, "source": clip.source, **clip.rows["events"]},
        )
        for clip in clips(folder, n_row, n_file)
    )
    write_manifests(folder / "loaded", {"train": rows}, folder, {}, {})


def load(folder: Path) -> int:
    """Load a manifest."""
    return len(read_manifest(folder / "loaded" / "train.json", "simulated"))


class Bytes:
    """A tokenizer of bytes."""

    def encode_as_ids(self, text: str) -> list[int]:
        """Return the bytes of a text."""
        return list(text.encode())


def start(folder: Path) -> int:
    """Make what a training needs, its rows having been checked before."""
    dataset = dataset_of(folder)
    sampler = make_sampler(dataset, {"simulated": 1.0})
    return len(dataset.data.rows) if next(iter(sampler)) >= 0 else 0


def dataset_of(folder: Path) -> ClipDataset:
    """Return the data set of the loaded manifest."""
    rows = read_manifest(folder / "loaded" / "train.json", "simulated")
    return ClipDataset(rows, 16000, 1.0, Bytes(), "\n", pairs_per_clip=3, absent=[])


def read_in_workers(queue, folder: Path) -> None:
    """Go through all rows in two processes at once; put what each keeps private."""
    dataset = dataset_of(folder)
    context = multiprocessing.get_context("fork")
    begun, done = time.perf_counter(), context.Barrier(2)
    workers = [
        context.Process(target=touch_all, args=(dataset, queue, begun, done))
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def touch_all(dataset: ClipDataset, queue, begun: float, done) -> None:
    """Make every row of every clip; put their number, the seconds and private MiB."""
    n_row = sum(len(clip["rows"]) for clip in dataset.data)
    done.wait()  # so that both have touched all pages when they are counted
    queue.put((n_row, time.perf_counter() - begun, private()))
    done.wait()


def private() -> float:
    """Return the memory that this process shares with no other, in MiB."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if "Private_" in line) / 1024


def own() -> float:
    """Return the memory of this process without pages of files, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if "RssAnon" in line) / 1024


class Highest:
    """The highest of ``own`` while a block runs, looked at every 20 ms."""

    def __enter__(self):
        self.value, self.ended = own(), threading.Event()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def look(self) -> None:
        """Look until the block has ended."""
        while not self.ended.wait(0.02):
            self.value = max(self.value, own())

    def __exit__(self, *error):
        self.ended.set()
        self.thread.join()
        self.value = max(self.value, own())


def measured(queue, function, *arguments) -> None:
    """Put the count, the seconds, those of the processor, and the MiB of a call."""
    before, begun, busy = own(), time.perf_counter(), time.process_time()
    with Highest() as highest:
        n = function(*arguments)
    seconds = time.perf_counter() - begun
    queue.put((n, seconds, time.process_time() - busy, highest.value - before))


def in_new_process(target, *arguments, n: int = 1) -> list[tuple]:
    """Call a function in a new process; return what it puts on a queue."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=target, args=(queue, *arguments))
    process.start()
    found = [queue.get() for _ in range(n)]
    process.join()
    return found


def measure(what: str, function, *arguments) -> None:
    """Print how long a call takes in a new process, and how much memory."""
    ((n, seconds, busy, mib),) = in_new_process(measured, function, *arguments)
    print(
        f"{what}: {n} in {seconds:.1f} s ({busy:.1f} s of the processor), "
        f"{n / seconds:.0f} per s, {mib:.0f} MiB",
        flush=True,
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--loaded", type=int, default=3_400_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, n_file = Path(name), options.files
        write_files(folder, n_file)
        read_headers(folder, n_file, 2)  # so that all are in the disk's cache
        for n_worker in (1, 2):
            what = f"headers, {n_worker} workers"
            measure(what, read_headers, folder, n_file, n_worker)
        measure("rows prepared", prepare, folder, options.rows, n_file)
        write(folder, options.loaded, n_file)
        measure("rows read for the first time", load, folder)
        measure("rows loaded", load, folder)
        measure("rows of a training that starts", start, folder)
        for n, seconds, mib in in_new_process(read_in_workers, folder, n=2):
            print(f"rows in a worker: {n} in {seconds:.1f} s, {mib:.0f} MiB private")


if __name__ == "__main__":
    main()
