#!/usr/bin/env python3
"""Train Pengi on several corpora and tasks at once, then test it by generation.

    python recipes/multitask/train.py hparams/pengi.yaml [--key value ...]

Several processes or machines: the same behind torchrun. README.md beside this file
lists the YAMLs and what they give.
"""

import sys

import speechbrain as sb
from hyperpyyaml import load_hyperpyyaml
from speechbrain.utils.distributed import ddp_init_group, run_on_main

from pengi_plugin.conversion.clap import load_clap
from pengi_plugin.pretrained.folder import continue_from, load_pretrained
from pengi_plugin.training.export import export_run
from pengi_plugin.training.run import fit, prepare, test


def main(arguments: list[str]) -> list[dict]:
    """Train and test as a YAML says; return the table of test scores."""
    hparams_file, run_opts, overrides = sb.parse_arguments(arguments)
    ddp_init_group(run_opts)
    overrides = continue_from(overrides)
    with open(hparams_file, encoding="utf-8") as file:
        hparams = load_hyperpyyaml(file, overrides)
    sb.create_experiment_directory(hparams["output_folder"], hparams_file, overrides)

    model = hparams["model"]
    if hparams["pretrained_folder"]:
        load_pretrained(model["pretrainer"], hparams["pretrained_folder"])
    if hparams["audio_encoder_init"]:
        load_clap(model["audio_encoder"], hparams["audio_encoder_init"])

    rows = prepare(hparams)
    brain = fit(hparams, run_opts, rows)
    table = test(brain, hparams, rows)
    run_on_main(
        export_run, args=[hparams["output_folder"], hparams["export_folder"], model]
    )
    return table


if __name__ == "__main__":
    main(sys.argv[1:])
