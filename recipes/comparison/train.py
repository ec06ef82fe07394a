#!/usr/bin/env python3
"""Train on captions alone and on all tasks, and compare the captions.

    python recipes/comparison/train.py hparams/pengi.yaml \
        [--seeds 1986 1987 1988] [--runs A B C] [--key value ...]

This is the paper's question whether tasks help each other (Deshmukh et al., NeurIPS
2023, section 5). All are the main job (recipes/multitask/train.py) on the same clips,
tested on the same captions: A is trained on captions alone, B on all tasks for as many
epochs, C on all tasks until it has seen the captions as often as A. Other arguments are
those of the main job.
"""

import argparse
import sys
from itertools import product
from pathlib import Path

from speechbrain.utils.distributed import if_main_process

from pengi_plugin.protocols.paired import compare_captions
from pengi_plugin.protocols.table import write_table
from pengi_plugin.training import run
from pengi_plugin.training.exposure import (
    check_pairs,
    equal_exposure,
    train_longer,
)

TASK = "captioning"
RUNS = {
    "A": "A: captions only",
    "B": "B: all tasks, as many epochs",
    "C": "C: all tasks, captions seen as often",
}


def main(arguments: list[str]) -> list[dict]:
    """Train, export and test every run with every seed; return their comparison."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--output_folder", default="results/comparison")
    parser.add_argument("--seeds", nargs="+", default=["1986"])
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=[*RUNS])
    options, arguments = parser.parse_known_args(arguments)
    for name in ("seeds", "runs"):
        given = getattr(options, name)
        if len(set(given)) < len(given):
            parser.error(f"--{name}: give each once; got {' '.join(given)}")
    if len(options.runs) < 2:
        parser.error(f"--runs: give two or more to compare; got {options.runs[0]}")
    sessions, notes = {RUNS[name]: [] for name in options.runs}, {}
    for seed, name in product(options.seeds, options.runs):
        own = ["--output_folder", str(Path(options.output_folder, f"{name}_{seed}"))]
        own += ["--seed", seed] + (["--keep_tasks", f"[{TASK}]"] if name == "A" else [])
        hparams, run_opts = run.load([*arguments, *own])
        if "C" in options.runs:
            check_pairs(hparams)  # before anything is trained
        rows = run.prepare(hparams)
        if name == "C":
            train_longer(hparams, equal_exposure(hparams, rows["train"], TASK))
        run.fit(hparams, run_opts, rows)
        run.export(hparams)
        sessions[RUNS[name]].append(run.open_session(hparams, run_opts))
        # A folder may hold a longer run than what is asked for.
        notes[RUNS[name]] = f"{hparams['epoch_counter'].current} epochs"
        captions = [row for row in run.test_items(hparams, rows) if row["task"] == TASK]
    table = compare_captions(sessions, captions, notes=notes)
    if if_main_process():
        print(write_table(table, Path(options.output_folder)))
    return table


if __name__ == "__main__":
    main(sys.argv[1:])
