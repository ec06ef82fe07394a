#!/usr/bin/env python3
"""Score two folders of a model on the same sets, and print what differs.

    pengi export --int8 results/pengi/1986 pengi_int8
    python recipes/benchmark/compare.py hparams/benchmark.yaml \\
        --models results/pengi/1986/model pengi_int8 --tasks general_midi_captions

Each folder is scored by evaluate.py, with all of its options, and has its tables there.
Beside the two scores stands the share of questions to which both give the same answer.
Sets that one of them has no score of are named; where one failed, the exit status is 1.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence

import evaluate
import speechbrain as sb
from hyperpyyaml import load_hyperpyyaml
from speechbrain.utils.distributed import if_main_process, infer_device

from pengi_plugin.commands.model import find_model
from pengi_plugin.data.manifest import read_manifests
from pengi_plugin.inference.precision import answering_precision
from pengi_plugin.protocols.answer_log import answer_key, read_answers
from pengi_plugin.protocols.rows import entry_rows
from pengi_plugin.storage.fingerprint import fingerprint

#: What tells a line of a table from the others.
KEY = ("set", "metric", "way")


def joined(tables: Sequence[Sequence[Mapping]]) -> list[dict]:
    """Return a line, with both ``scores``, for each that both tables have one in."""
    first, second = (
        {tuple(line.get(k) for k in KEY): line for line in t} for t in tables
    )
    return [
        {
            "set": line["set"],
            "group": line["group"],
            "metric": ", ".join(filter(None, (line["metric"], line.get("way")))),
            "n": line["n"],
            "scores": [line["score"], second[key]["score"]],
        }
        for key, line in first.items()
        if key in second and None not in (line["score"], second[key]["score"])
    ]


def same_share(name: str, hparams: dict, models: Sequence[str], precision: str):
    """Return the share of a set's rows that two models answer alike.

    None where one has answered none, as of probes.
    """
    entry = hparams["sets"][name]
    rows = read_manifests(entry["manifests"])
    rows = entry_rows(rows, entry, evaluate.own_templates(hparams))
    answers = []
    for known_as in models:
        session = evaluate.open_session(name, hparams, known_as, precision)
        found = read_answers(session.folder / "answers")
        settings = {**session.settings, **session.search}
        lines = [found.get(answer_key(row, settings), {}) for row in rows]
        answers.append([line.get("answer") for line in lines])
    pairs = [pair for pair in zip(*answers) if None not in pair]
    return sum(one == other for one, other in pairs) / len(pairs) if pairs else None


def table(lines: Sequence[Mapping], shares: Mapping[str, float | None]) -> str:
    """Return lines of ``joined`` as a Markdown table."""
    titles = ("set", "metric", "n", "first", "second", "difference", "same answers")
    rows = [titles, ["---"] * len(titles)]
    for line in lines:
        one, other = line["scores"]
        share = shares[line["set"]]
        rows.append(
            [
                *(line["group"], line["metric"], str(line["n"])),
                *(f"{one:.4f}", f"{other:.4f}", f"{other - one:+.4f}"),
                "" if share is None else f"{share:.1%}",
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(arguments: list[str]) -> list[dict]:
    """Score both; return the joined lines, each with its set's ``same``."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--models", nargs=2, required=True)
    options, rest = parser.parse_known_args(arguments)
    tables = [evaluate.main([*rest, f"--model={model}"]) for model in options.models]
    _, rest = evaluate.parse([*rest, "--model="])
    hparams_file, run_opts, overrides = sb.parse_arguments(rest)
    hparams = load_hyperpyyaml(evaluate.read_benchmark(hparams_file), overrides)
    models = [fingerprint(find_model(model)) for model in options.models]
    lines = joined(tables)
    device = run_opts["device"] or infer_device()
    precision = answering_precision(run_opts["precision"], device)
    shares = {
        name: same_share(name, hparams, models, precision)
        for name in dict.fromkeys(line["set"] for line in lines)
    }
    if if_main_process():
        print(f"first: {options.models[0]}\nsecond: {options.models[1]}\n")
        print(table(lines, shares))
        compared = {line["set"] for line in lines}
        rest = sorted({line["set"] for found in tables for line in found} - compared)
        if rest:
            print(f"\nNot compared, as one has no score of it: {', '.join(rest)}.")
    if any(map(evaluate.n_failed, tables)):
        sys.exit(1)
    return [{**line, "same": shares[line["set"]]} for line in lines]


if __name__ == "__main__":
    main(sys.argv[1:])
