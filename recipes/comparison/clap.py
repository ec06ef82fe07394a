#!/usr/bin/env python3
"""Compare a trained Pengi with a trained CLAP on the same clips.

    python recipes/comparison/clap.py hparams/comparison_clap.yaml \
        --pengi results/pengi/1986/model --clap results/clap/1986/model \
        [--sets notes retrieval] [--trust] [--key value ...]

The table has each model's score and the difference with its 95 % interval over the
same resampled clips. What was asked before is read from the output folder.
"""

import argparse
import sys
from pathlib import Path

import speechbrain as sb
from hyperpyyaml import load_hyperpyyaml
from speechbrain.utils.distributed import if_main_process, infer_device

from pengi_plugin.commands.model import add_trust, find_model
from pengi_plugin.data.manifest import read_manifests
from pengi_plugin.inference import AudioLanguageModel, AudioTextModel
from pengi_plugin.protocols.rows import entry_rows
from pengi_plugin.protocols.session import Session
from pengi_plugin.protocols.table import write_table
from pengi_plugin.storage.fingerprint import fingerprint
from pengi_plugin.training.hparams import read_hparams
from pengi_plugin.training.run import join_processes


def open_session(
    model_class: type, model: str, hparams: dict, run_opts, trust: bool = False
) -> Session:
    """Load an exported model; its answers are kept under its fingerprint."""
    source = find_model(model)
    name = fingerprint(source)
    device = run_opts["device"] or infer_device()
    return Session(
        model_class.from_hparams(
            source=source, trust=trust, run_opts={"device": device}
        ),
        Path(hparams["output_folder"]) / "answers" / name.replace("/", "--"),
        settings={"model": name},
        search=hparams["search"] if model_class is AudioLanguageModel else {},
        batch_size=hparams["batch_size"],
    )


def main(arguments: list[str]) -> list[dict]:
    """Compare; return the lines of the table."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--pengi", required=True)
    parser.add_argument("--clap", required=True)
    parser.add_argument("--sets", nargs="+")
    add_trust(parser)
    options, rest = parser.parse_known_args(arguments)
    hparams_file, run_opts, overrides = sb.parse_arguments(rest)
    join_processes(run_opts)
    hparams = load_hyperpyyaml(read_hparams(hparams_file), overrides)
    unknown = set(options.sets or ()) - hparams["sets"].keys()
    if unknown:
        raise ValueError(
            f"Unknown sets {sorted(unknown)}; the YAML has {list(hparams['sets'])}."
        )
    sessions = {
        name: open_session(kind, source, hparams, run_opts, options.trust)
        for name, kind, source in (
            ("Pengi", AudioLanguageModel, options.pengi),
            ("CLAP", AudioTextModel, options.clap),
        )
    }
    table = []
    for name in options.sets or hparams["sets"]:
        entry = hparams["sets"][name]
        rows = entry_rows(read_manifests(entry["manifests"]), entry)
        table += [
            {**line, "set": name, "group": f"{entry['title']}: {line['model']}"}
            for line in entry["compare"](sessions, rows)
        ]
    if if_main_process():
        print(write_table(table, Path(hparams["output_folder"])))
    return table


if __name__ == "__main__":
    main(sys.argv[1:])
