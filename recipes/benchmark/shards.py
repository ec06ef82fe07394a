#!/usr/bin/env python3
"""Clips from shards against loose files, and how many cores a GPU needs to be fed.

    python recipes/benchmark/shards.py [--n_clip 300] [--n_round 3]

Clips of 10 s of coloured noise, stereo at 48 kHz and 16 bits, are written as loose FLAC
files and stored by ``pengi shard``: as they are, and at 44.1 kHz as FLAC and WAV.

- Items: every clip in random order, loose and from shards, in wall-clock seconds: its
  bytes alone; and a random crop of 7 s at its own rate, decoded. Cold: the kernel is
  asked to drop the files' pages before each round (``posix_fadvise(DONTNEED)``, which
  needs no rights).
- The pipeline of ``data_pipeline.py`` at 44.1 kHz and 7 s, in CPU seconds.
- Cores: the operations of a clip in an update of the paper's model are counted on a
  batch of 2 with answers of 4 to 24 tokens, not timed; a GPU that does 40 % of its
  highest rate in bf16 then takes so many clips a second.

All variants take turns and the best round of each counts.
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import soundfile
import torch
from data_pipeline import measure, pipeline
from scipy.signal import lfilter
from torch.utils.flop_counter import FlopCounterMode
from training_step import build, make_batch, our_loss

from pengi_plugin.data.audio import open_audio, read_clip
from pengi_plugin.data.manifest import read_manifest
from pengi_plugin.data.sharding import Options, shard_manifests
from pengi_plugin.data.shards import is_member, split_reference

#: Operations a second in bf16 without sparsity, as the H100 SXM is sold, and the share
#: of them that is assumed to be reached.
H100, SHARE = 989e12, 0.4

#: What is stored: name -> options of ``pengi shard``.
STORED = {
    "shards, as the files are": Options(1 << 28),
    "shards, 44.1 kHz FLAC": Options(1 << 28, "flac", 44100),
    "shards, 44.1 kHz WAV": Options(1 << 28, "wav", 44100),
}


def write_clips(folder: Path, n_clip: int) -> None:
    """Write clips and their manifest."""
    folder.mkdir()
    draw, rows = np.random.default_rng(0), {}
    for n in range(n_clip):
        noise = lfilter([0.02], [1, -0.98], draw.standard_normal((480_000, 2)), axis=0)
        soundfile.write(folder / f"{n}.flac", noise, 48000, "PCM_16")
        row = {"wav": f"{n}.flac", "duration": 10.0, "task": "captioning"}
        rows[str(n)] = {**row, "caption": f"a noise of the colour {n}"}
    (folder / "train.json").write_text(json.dumps(rows))


def files_of(rows: dict) -> list[str]:
    """Return the files that the rows' clips are in."""
    wavs = [row["wav"] for row in rows.values()]
    files = (split_reference(wav)[0] if is_member(wav) else wav for wav in wavs)
    return list(dict.fromkeys(files))


def drop_pages(files: list[str]) -> None:
    """Ask the kernel to forget what it holds of some files."""
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def read_bytes(wav: str, offset: float) -> None:
    """Read all bytes of a clip."""
    with open_audio(wav) as file:
        file.read()


def read_crop(wav: str, offset: float) -> None:
    """Decode 7 s of a clip, at its own rate."""
    with open_audio(wav) as file:
        rate = soundfile.info(file).samplerate
    read_clip(wav, rate, 7 * rate, offset)


def items_per_second(rows: dict, read: Callable, is_cold: bool, seed: int) -> float:
    """Return how many clips are read a second, by the clock."""
    wavs = list(dict.fromkeys(row["wav"] for row in rows.values()))
    draw = random.Random(seed)
    draw.shuffle(wavs)
    if is_cold:
        drop_pages(files_of(rows))
    start = time.perf_counter()
    for wav in wavs:
        read(wav, draw.random())
    return len(wavs) / (time.perf_counter() - start)


def operations_per_clip(batch_size: int = 2) -> float:
    """Return the operations of a clip in an update of the paper's model."""
    pengi, batch = build("cpu"), make_batch(batch_size, "cpu")
    with FlopCounterMode(display=False) as counter:
        our_loss(pengi, *batch).backward()
    return counter.get_total_flops() / batch_size


def main(arguments: list[str] | None = None) -> dict[str, dict]:
    """Print three tables; return their figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n_clip", type=int, default=300)
    parser.add_argument("--n_round", type=int, default=3)
    parser.add_argument("--no_model", action="store_true", help="leave the cores out")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        loose = Path(scratch, "loose")
        write_clips(loose, given.n_clip)
        variants = {"loose FLAC files": read_manifest(loose / "train.json", "noise")}
        for n, (name, options) in enumerate(STORED.items()):
            shard_manifests(loose, f"{scratch}/{n}", options, os.cpu_count())
            variants[name] = read_manifest(f"{scratch}/{n}/train.json", "noise")
        sizes = {
            name: sum(map(os.path.getsize, files_of(rows))) / 2**20
            for name, rows in variants.items()
        }
        items = {}
        for read, is_cold in product((read_bytes, read_crop), (False, True)):
            for seed, name in product(range(given.n_round), variants):
                speed = items_per_second(variants[name], read, is_cold, seed)
                key = name, read.__name__, is_cold
                items[key] = max(speed, items.get(key, 0))
        epochs = {name: pipeline(rows, 44100, 7.0) for name, rows in variants.items()}
        speeds = measure(epochs, given.n_round)
    first = next(iter(variants))
    columns = list(product(("read_bytes", "read_crop"), (False, True)))
    print(
        "| items/s (ratio) | MiB | bytes warm | bytes cold | crops warm | crops cold |"
    )
    print("|---|---|---|---|---|---|")
    for name in variants:
        cells = [
            f"{items[(name, *column)]:.0f} "
            f"({items[(name, *column)] / items[(first, *column)]:.2f})"
            for column in columns
        ]
        print(f"| {name} | {sizes[name]:.0f} | {' | '.join(cells)} |")
    print(
        "\n| pipeline at 44.1 kHz, 7 s | clips per CPU second | ratio |\n|---|---|---|"
    )
    for name, speed in speeds.items():
        print(f"| {name} | {speed:.0f} | {speed / speeds[first]:.2f} |")
    found = {"sizes": sizes, "items": items, "speeds": speeds}
    if not given.no_model:
        operations = found["operations"] = operations_per_clip()
        rate = SHARE * H100 / operations
        print(
            f"\n{operations / 1e9:.0f} G operations a clip; an H100: {rate:.0f} clips/s"
        )
        for name, speed in speeds.items():
            print(f"{name}: {rate / speed:.1f} cores")
    return found


if __name__ == "__main__":
    main()
