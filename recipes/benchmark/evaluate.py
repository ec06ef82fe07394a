#!/usr/bin/env python3
"""Score a model on the sets of a benchmark, beside what was published.

    python recipes/benchmark/evaluate.py hparams/benchmark.yaml --model FOLDER \
        --tasks esc50 general_midi_notes [--key value ...]

Several processes share the clips: put ``torchrun --nproc_per_node=N`` in place of
``python``. A run that was interrupted goes on from the answers already written.
"""

import argparse
import logging
import os
import sys
from pathlib import Path

import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.utils.distributed import ddp_init_group, if_main_process, run_on_main

from pengi_plugin.data.manifest import read_manifest
from pengi_plugin.inference import AudioLanguageModel
from pengi_plugin.protocols.answer_log import fingerprint
from pengi_plugin.protocols.score import Score
from pengi_plugin.protocols.session import Session
from pengi_plugin.protocols.table import markdown, table_lines, write_table
from pengi_plugin.tasks import TASKS

logger = logging.getLogger(__name__)


def read_rows(spec: dict) -> list[dict]:
    """Read a set's manifests into the rows that its protocol wants.

    ``where`` chooses rows; ``fields`` names what the protocol reads (``label``,
    ``labels``, ``references``, ``number``, ``fold``) after fields of the manifest;
    rows of one clip and prompt are one row with all their references.
    """
    rows = {}
    for path in spec["manifests"]:
        for key, found in read_manifest(path, Path(path).parent.name).items():
            found = {**found, "split": Path(path).stem}
            if all(found.get(k) == v for k, v in (spec.get("where") or {}).items()):
                row = make_row(key, found, spec)
                same = (row["wav"], row["prompt"])
                if "references" in row and same in rows:
                    rows[same]["references"] += row["references"]
                else:
                    rows[same if "references" in row else key] = row
    if not rows:
        raise ValueError(
            f"{spec['title']}: no row of {', '.join(map(str, spec['manifests']))} has "
            f"{spec.get('where')}."
        )
    return list(rows.values())


def make_row(key: str, found: dict, spec: dict) -> dict:
    """Return one row: ``id``, ``wav``, ``prompt`` and the protocol's fields."""
    prompt = spec.get("prompt") or TASKS[found["task"]].prompt
    row = {"id": key, "wav": found["wav"], "prompt": prompt.format(**found)}
    for name, field in spec["fields"].items():
        if field not in found:
            raise ValueError(
                f"{spec['title']}: row {key!r} has no {field!r}, which 'fields' names; "
                f"it has {sorted(found)}."
            )
        value = found[field]
        if name in ("references", "labels"):
            value = list(value) if isinstance(value, list) else [value]
        elif name == "label" and isinstance(value, list):
            value = value[0]
        row[name] = value
    return row


def evaluate_set(task: str, spec: dict, session: Session) -> list[dict]:
    """Return the table's lines of one set; one line that says so if data are absent."""
    absent = absent_manifests(spec)
    if absent and spec.get("prepare") and spec.get("source", task) is not None:
        run_on_main(spec["prepare"])
        absent = absent_manifests(spec)
    if absent:
        note = f"no data: {absent[0]} is absent. {spec['get']}"
        return table_lines(task, spec, [Score("", None, note=note)], "")
    rows = read_rows(spec)
    prompts = {row["prompt"] for row in rows}
    shown = prompts.pop() if len(prompts) == 1 else spec.get("prompt", "questions")
    return table_lines(task, spec, spec["protocol"](session, rows), shown)


def absent_manifests(spec: dict) -> list[str]:
    """Return the manifests of a set that are not there."""
    return [str(path) for path in spec["manifests"] if not Path(path).is_file()]


def parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split what this script reads from what SpeechBrain reads."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=False)
    parser.add_argument("--model", required=True, help="folder or hub name")
    parser.add_argument("--tasks", nargs="+", required=True, help="sets, or 'all'")
    return parser.parse_known_args(arguments)


def choose(tasks: list[str], sets: dict) -> list[str]:
    """Return the chosen sets; ``all`` stands for every one."""
    unknown = set(tasks) - set(sets) - {"all"}
    if unknown:
        raise ValueError(
            f"Unknown sets {sorted(unknown)}; hparams list {', '.join(sets)}."
        )
    return list(sets) if "all" in tasks else tasks


def main(arguments: list[str]) -> list[dict]:
    """Evaluate; return the lines of the table."""
    options, rest = parse(arguments)
    hparams_file, run_opts, overrides = sb.parse_arguments(rest)
    ddp_init_group(run_opts)
    with open(hparams_file, encoding="utf-8") as file:
        hparams = load_hyperpyyaml(file, overrides)
    tasks = choose(options.tasks, hparams["sets"])
    local = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    device = run_opts["device"] or (local if torch.cuda.is_available() else "cpu")
    model = AudioLanguageModel.from_hparams(
        source=options.model, run_opts={"device": device}
    )
    known_as = fingerprint(options.model)
    folder = Path(hparams["output_folder"]) / known_as.replace("/", "--")
    lines = []
    for task in tasks:
        session = Session(
            model,
            folder / task,
            settings={"model": known_as},
            search=hparams["search"],
            batch_size=hparams["batch_size"],
        )
        lines += evaluate_set(task, hparams["sets"][task], session)
        if if_main_process():
            write_table(lines, folder)
    if if_main_process():
        print(markdown(lines))
        print(f"Answers and tables: {folder}")
    return lines


if __name__ == "__main__":
    main(sys.argv[1:])
