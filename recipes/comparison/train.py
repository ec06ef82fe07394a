#!/usr/bin/env python3
"""Train on captions alone (A) and on all tasks (B), and compare their captions.

    python recipes/comparison/train.py hparams/pengi.yaml [--key value ...]

This is the paper's question whether tasks help each other (Deshmukh et al., NeurIPS
2023, section 5). Both runs are the main job (recipes/multitask/train.py) with the
same seed, clips and number of updates; A's rows are the captions only. Both are
tested on the same captions. Arguments are those of the main job.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import speechbrain as sb
from hyperpyyaml import load_hyperpyyaml
from speechbrain.utils.distributed import ddp_init_group, if_main_process

from pengi_plugin.conversion.clap import load_clap
from pengi_plugin.metrics.bootstrap import bootstrap_interval
from pengi_plugin.metrics.captioning import score_captions
from pengi_plugin.metrics.text import token_f1
from pengi_plugin.pretrained.folder import continue_from, load_pretrained
from pengi_plugin.storage.atomic import write_file
from pengi_plugin.training.run import fit, prepare, test

TASK = "captioning"
RUNS = {"A": "captions only", "B": "all tasks"}
METRICS = ("cider_d", "bleu_4", "rouge_l", "token_f1")


def rows_of_run(rows: dict[str, dict], run: str) -> dict[str, dict]:
    """Return split -> rows of a run; both are tested on the captions."""
    return {
        split: {
            key: row
            for key, row in some.items()
            if row["task"] == TASK or (run == "B" and split != "test")
        }
        for split, some in rows.items()
    }


def train_run(run: str, folder: Path, arguments: list[str]) -> None:
    """Do what the main job does, on a run's rows."""
    arguments = [*arguments, "--output_folder", str(folder / run)]
    hparams_file, run_opts, overrides = sb.parse_arguments(arguments)
    overrides = continue_from(overrides)
    with open(hparams_file, encoding="utf-8") as file:
        hparams = load_hyperpyyaml(file, overrides)
    sb.create_experiment_directory(hparams["output_folder"], hparams_file, overrides)
    model = hparams["model"]
    if hparams["pretrained_folder"]:
        load_pretrained(model["pretrainer"], hparams["pretrained_folder"])
    if hparams["audio_encoder_init"]:
        load_clap(model["audio_encoder"], hparams["audio_encoder_init"])
    rows = rows_of_run(prepare(hparams), run)
    test(fit(hparams, run_opts, rows), hparams, rows)


def score_run(folder: Path, run: str) -> tuple[dict, dict]:
    """Score a run's captions: (metric -> score, low, high), (metric -> per clip)."""
    lines = (folder / run / "test_answers.jsonl").read_text().splitlines()
    answers = sorted(map(json.loads, lines), key=lambda answer: answer["id"])
    texts = [answer["answer"] for answer in answers]
    references = [answer["references"] for answer in answers]
    found = score_captions(texts, references, METRICS[:3])
    best = [
        max(token_f1(text, reference) for reference in several)
        for text, several in zip(texts, references, strict=True)
    ]
    scores = {
        name: (found.corpus[name], *found.interval[name]) for name in found.corpus
    }
    scores["token_f1"] = (float(np.mean(best)), *bootstrap_interval(best))
    return scores, {**found.clips, "token_f1": np.array(best)}


def compare(folder: Path) -> list[dict]:
    """Score both runs' captions.

    Returns
    -------
    table : list of dict
        A line for each run, with (score, low, high) per metric, and one for the
        difference B - A over the same clips (BLEU, being of the corpus, has none).
    """
    table, clips = [], {}
    for run, trained_on in RUNS.items():
        scores, clips[run] = score_run(folder, run)
        n_clip = len(clips[run]["token_f1"])
        table.append({"run": run, "trained on": trained_on, "n": n_clip, **scores})
    gains = {}
    for name in METRICS:
        if not name.startswith("bleu"):
            gain = clips["B"][name] - clips["A"][name]
            gains[name] = (float(gain.mean()), *bootstrap_interval(gain))
    return [*table, {"run": "B - A", "trained on": "", "n": n_clip, **gains}]


def as_markdown(table: list[dict]) -> str:
    """Return the table in Markdown, each score with its 95 % interval."""
    rows = [["run", "trained on", "clips", *METRICS], ["---"] * (3 + len(METRICS))]
    for line in table:
        scores = [
            "{:.4f} ({:.4f} to {:.4f})".format(*line[name]) if name in line else ""
            for name in METRICS
        ]
        rows.append([line["run"], line["trained on"], str(line["n"]), *scores])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def main(arguments: list[str]) -> list[dict] | None:
    """Train both, compare, write and print the table; return it in one process."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--output_folder", default="results/comparison")
    options, arguments = parser.parse_known_args(arguments)
    ddp_init_group(sb.parse_arguments(arguments)[1])
    folder = Path(options.output_folder)
    for run in RUNS:
        train_run(run, folder, arguments)
    if not if_main_process():
        return None
    table = compare(folder)
    write_file(folder / "table.json", json.dumps(table, indent=1) + "\n")
    write_file(folder / "table.md", as_markdown(table))
    print(as_markdown(table))
    return table


if __name__ == "__main__":
    main(sys.argv[1:])
