#!/usr/bin/env python3
"""Train on captions alone (A) and on all tasks (B), and compare their captions.

    python recipes/comparison/train.py hparams/pengi.yaml [--key value ...]

This is the paper's question whether tasks help each other (Deshmukh et al., NeurIPS
2023, section 5). Both are the main job (recipes/multitask/train.py) with the same
random seed, clips and number of updates, tested on the same captions; A's rows are
captions only. Arguments are those of the main job.
"""

import argparse
import sys
from pathlib import Path

from speechbrain.utils.distributed import if_main_process

from pengi_plugin.data.manifest import Rows
from pengi_plugin.protocols.paired import compare_captions
from pengi_plugin.protocols.table import write_table
from pengi_plugin.training import run
from pengi_plugin.training.mixture import keep_tasks

TASK = "captioning"
RUNS = {"A": "captions only", "B": "all tasks"}


def rows_of_run(rows: dict[str, Rows], name: str) -> dict[str, Rows]:
    """Return split -> rows of a run; both are tested on the captions."""
    captions = keep_tasks(rows, TASK)
    return captions if name == "A" else {**rows, "test": captions["test"]}


def main(arguments: list[str]) -> list[dict]:
    """Train, export and test both; compare them and return the table."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--output_folder", default="results/comparison")
    options, arguments = parser.parse_known_args(arguments)
    folder = Path(options.output_folder)
    sessions = {}
    for name, trained_on in RUNS.items():
        output_folder = ["--output_folder", str(folder / name)]
        hparams, run_opts = run.load([*arguments, *output_folder])
        rows = rows_of_run(run.prepare(hparams), name)
        run.fit(hparams, run_opts, rows)
        run.export(hparams)
        run.test(hparams, run_opts, rows)
        sessions[f"{name}: {trained_on}"] = run.open_session(hparams, run_opts)
    table = compare_captions(sessions, run.test_items(hparams, rows))
    if if_main_process():
        print(write_table(table, folder))
    return table


if __name__ == "__main__":
    main(sys.argv[1:])
