#!/usr/bin/env python3
"""Recordings per hour and peak memory of annotating an archive.

    python recipes/benchmark/annotation.py results/pengi/1986/model archive/

Writes recordings of noise to the second folder (they are used again) and prints two
tables. Each measurement is a process of its own.

- Speed, turn by turn in one run: a loop over ``generate_file`` against ``pengi
  annotate`` with one worker and two. Times are taken from the end of the first part of
  each worker to its last, so that starting and loading do not count. Where others use
  the machine, CPU seconds (of all threads) say more than hours on the clock.
- Peak memory: few short recordings, many, and one of hours.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import soundfile

from pengi_plugin.storage.atomic import new_file

RATE = 16_000
PROMPT = "generate audio caption"
VARIANTS = {"loop over generate_file": 0, "1 worker": 1, "2 workers": 2}


def write_noise(path: Path, seconds: float, seed: int) -> None:
    """Write a recording of noise as FLAC, block by block; keep one that is there."""
    if path.exists():
        return
    draw, left = np.random.default_rng(seed), int(seconds * RATE)
    with (
        new_file(path) as unfinished,
        soundfile.SoundFile(unfinished, "w", RATE, 1, format="FLAC") as file,
    ):
        while left:
            n = min(left, 60 * RATE)
            file.write((0.1 * draw.standard_normal(n)).astype(np.float32))
            left -= n


def short_recordings(folder: Path, n: int) -> list[str]:
    """Return the paths of ``n`` recordings of 2.5 s."""
    paths = [folder / f"{number:06}.flac" for number in range(n)]
    for number, path in enumerate(paths):
        write_noise(path, 2.5, number)
    return list(map(str, paths))


@dataclass(frozen=True)
class Timed:
    """Note the times at which a worker has done its parts in a file."""

    writer: object
    log: str
    n_thread: int

    def __call__(self, number: int):
        """Load the model; return what writes a part and notes when."""
        import torch

        torch.set_num_threads(self.n_thread)
        work = self.writer(number)

        def timed(part: int, on_recording) -> None:
            work(part, on_recording)
            note(self.log, number, len(self.writer.output.recordings_of(part)))

        return timed


def note(log: str, worker: int, n: int) -> None:
    """Append a worker, how many recordings it has just done, and its two clocks."""
    with open(log, "a") as file:
        file.write(json.dumps([worker, n, time.time(), time.process_time()]) + "\n")


def loop(args, paths: list[str], log: str) -> None:
    """Answer about one recording after the other."""
    import torch

    from pengi_plugin.commands.model import find_model
    from pengi_plugin.inference import AudioLanguageModel

    torch.set_num_threads(args.threads)
    options = {"device": "cpu"}
    model = AudioLanguageModel.from_hparams(find_model(args.model), run_opts=options)
    for number, path in enumerate(paths, 1):
        model.generate_file(path, PROMPT)
        if number % args.part_size == 0:
            note(log, 0, args.part_size)


def annotate(args, paths: list[str], log: str, n_worker: int) -> None:
    """Answer about recordings as ``pengi annotate`` does."""
    from pengi_plugin.annotation.answerer import Answerer, PartWriter
    from pengi_plugin.annotation.output import Output
    from pengi_plugin.annotation.run import complete
    from pengi_plugin.commands.model import find_model

    output = Output(log + ".out", tuple(paths), part_size=args.part_size)
    answerer = Answerer(find_model(args.model), (PROMPT,), run_opts={"device": "cpu"})
    work = Timed(PartWriter(output, answerer), log, max(1, args.threads // n_worker))
    complete(output, {}, work, n_worker)


def figures(log: str) -> tuple[float, float]:
    """Return recordings per hour, and CPU seconds per recording."""
    workers: dict[int, list] = {}
    for line in Path(log).read_text().splitlines():
        worker, *times = json.loads(line)
        workers.setdefault(worker, []).append(times)
    rate = cpu = n_all = 0.0
    for times in workers.values():
        if len(times) < 2:
            raise ValueError(
                "A worker did fewer than two parts; give more --recordings."
            )
        n = sum(n for n, *_ in times[1:])
        rate += n / (times[-1][1] - times[0][1])
        cpu += times[-1][2] - times[0][2]
        n_all += n
    return rate * 3600, cpu / n_all


def in_process(args, *words) -> str:
    """Run this file again in a fresh interpreter; return what it printed."""
    command = [sys.executable, __file__, *sys.argv[1:], *map(str, words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def print_speed(args, folder: Path) -> None:
    """Measure the variants in turns; print the medians as Markdown."""
    found = {name: [] for name in VARIANTS}
    for _ in range(args.turns):
        for name in VARIANTS:
            log = str(folder / "log")
            Path(log).unlink(missing_ok=True)
            shutil.rmtree(log + ".out", ignore_errors=True)
            in_process(args, "--measure", name, "--log", log)
            found[name].append(figures(log))
    (base_rate, base_cpu), *_ = (tuple(map(median, zip(*f))) for f in found.values())
    print(f"\n{args.recordings} recordings of 2.5 s, {args.threads} threads in all:\n")
    print("| variant | recordings per hour | ratio | CPU ms per recording | ratio |")
    print("|---|---|---|---|---|")
    for name, measured in found.items():
        rate, cpu = map(median, zip(*measured))
        print(
            f"| {name} | {rate:,.0f} | {rate / base_rate:.2f} | {cpu * 1e3:.1f} "
            f"| {cpu / base_cpu:.2f} |"
        )


def print_peaks(args, folder: Path) -> None:
    """Print the peak memory of one worker over each archive as Markdown."""
    archives = {
        f"{n:,} recordings of 2.5 s": short_recordings(folder, n)
        for n in (args.few, args.many)
    }
    long = folder / f"{args.hours:g}h.flac"
    write_noise(long, args.hours * 3600, 0)
    archives[f"one of {args.hours:g} h"] = [str(long)]
    print("\n| archive | rows | peak MiB |\n|---|---|---|")
    for name, paths in archives.items():
        listing = folder / "list.txt"
        listing.write_text("\n".join(paths))
        shutil.rmtree(folder / "out", ignore_errors=True)
        words = ("--measure", "peak", "--log", folder / "out")
        n_row, peak = in_process(args, *words).split()[-2:]
        print(f"| {name} | {int(n_row):,} | {float(peak):.0f} |", flush=True)


def measure_peak(args, folder: Path) -> None:
    """Run the command; print the number of rows and the peak of this process."""
    from pengi_plugin.__main__ import main as pengi

    words = ["annotate", args.model, folder / "list.txt", args.log, "--prompts", PROMPT]
    words += ["--device", "cpu", "--beam-size", 1, "--max-new-tokens", args.new_tokens]
    if status := pengi(list(map(str, words))):
        sys.exit(status)
    n_row = sum(len(p.read_text().splitlines()) for p in Path(args.log).glob("part-*"))
    # Unlike getrusage, this forgets the process that started us.
    status = Path("/proc/self/status").read_text()
    print(n_row, int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024)


def parse() -> argparse.Namespace:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder, or hub:owner/name")
    parser.add_argument("folder", help="for generated recordings")
    parser.add_argument("--only", choices=("speed", "peaks"))
    parser.add_argument("--recordings", type=int, default=320, help="to time")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--part_size", type=int, default=16)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--hours", type=float, default=3)
    parser.add_argument("--new_tokens", type=int, default=4, help="for memory")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--log", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure and print the tables, or do one measurement."""
    args = parse()
    folder = Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    if args.measure == "peak":
        return measure_peak(args, folder)
    if args.measure:
        paths = short_recordings(folder, args.recordings)
        n_worker = VARIANTS[args.measure]
        if n_worker:
            return annotate(args, paths, args.log, n_worker)
        return loop(args, paths, args.log)
    short_recordings(folder, args.recordings)
    if args.only != "peaks":
        print_speed(args, folder)
    if args.only != "speed":
        print_peaks(args, folder)
    return None


if __name__ == "__main__":
    main()
