#!/usr/bin/env python3
"""Clips per CPU second of the training data pipeline, against bare reading.

    python recipes/benchmark/data_pipeline.py [--manifest train.json] [--n_clip 500]

Bare reading decodes the same files with soundfile and does nothing else. The pipeline
reads, mixes, crops or repeats, draws three rows of each clip, tokenizes their answers
and collates batches of 32; once at the files' rate and once resampled to 44.1 kHz and
7 s, as the paper's model has it. All variants take turns in one process without
workers, and the best round of each counts. Without a manifest, clips of general_midi
are rendered first.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import soundfile
import torch
from torch.utils.data import DataLoader

from pengi_plugin.assets import folder
from pengi_plugin.corpora.general_midi import prepare_general_midi
from pengi_plugin.data.batch import PairBatch
from pengi_plugin.data.dataset import ClipDataset, make_sampler
from pengi_plugin.data.manifest import read_manifest
from pengi_plugin.lobes.tokenizer import SentencePieceTokenizer


def first_clips(rows: dict, n_clip: int) -> dict:
    """Return the rows of the first clips of a manifest."""
    wavs = [*dict.fromkeys(row["wav"] for row in rows.values())][:n_clip]
    kept = set(wavs)
    return {key: row for key, row in rows.items() if row["wav"] in kept}


def pipeline(rows: dict, sample_rate: int, clip_seconds: float) -> Callable[[], int]:
    """Return a function that runs one epoch and returns its number of clips."""
    tokenizer = SentencePieceTokenizer(f"{folder('mini_lm')}/tokenizer.model")
    dataset = ClipDataset(
        rows,
        sample_rate,
        clip_seconds,
        tokenizer,
        answer_end="</s>",
        pairs_per_clip=3,
        random_crop=True,
    )
    loader = DataLoader(
        dataset, 32, sampler=make_sampler(dataset, {}), collate_fn=PairBatch
    )

    def epoch() -> int:
        return sum(len(batch.wav.data) for batch in loader)

    return epoch


def bare(rows: dict) -> Callable[[], int]:
    """Return a function that reads every file and returns their number."""
    wavs = [*dict.fromkeys(row["wav"] for row in rows.values())]

    def read() -> int:
        return sum(len(soundfile.read(wav, dtype="float32")[0]) > 0 for wav in wavs)

    return read


def measure(variants: dict[str, Callable[[], int]], n_round: int) -> dict[str, float]:
    """Return the clips per CPU second of each variant's best round."""
    best = dict.fromkeys(variants, 0.0)
    for _ in range(n_round):
        for name, run in variants.items():
            start = time.process_time()
            n_clip = run()
            best[name] = max(best[name], n_clip / (time.process_time() - start))
    return best


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Print a table; return clips per CPU second, bare reading first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--manifest", help="JSON or CSV; else clips are rendered")
    parser.add_argument("--n_clip", type=int, default=500)
    parser.add_argument("--n_round", type=int, default=5)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        manifest = given.manifest
        if manifest is None:
            prepare_general_midi(f"{scratch}/clips", scratch, given.n_clip, 1, 1)
            manifest = f"{scratch}/train.json"
        rows = read_manifest(manifest, Path(manifest).parent.name)
        rows = first_clips(rows, given.n_clip)
        info = soundfile.info(next(iter(rows.values()))["wav"])
        here = f"pipeline, {info.samplerate} Hz, {info.duration:.2f} s"
        variants = {
            "bare soundfile reading": bare(rows),
            here: pipeline(rows, info.samplerate, info.duration),
            "pipeline, resampled to 44100 Hz, 7.00 s": pipeline(rows, 44100, 7.0),
        }
        speeds = measure(variants, given.n_round)
    reference = next(iter(speeds.values()))
    print("| variant | clips per CPU second | of bare reading |\n|---|---|---|")
    for name, speed in speeds.items():
        print(f"| {name} | {speed:.0f} | {speed / reference:.2f} |")
    return speeds


if __name__ == "__main__":
    main()
