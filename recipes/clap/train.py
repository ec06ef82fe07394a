#!/usr/bin/env python3
"""Train CLAP, the contrastive baseline, export it, and test it.

    python recipes/clap/train.py hparams/clap.yaml [--key value ...]

Several processes or machines: the same behind torchrun. README.md beside this file
says what it trains on and what it gives.
"""

import sys

from pengi_plugin.training.clap_brain import ClapBrain
from pengi_plugin.training.run import export, fit, load, prepare
from pengi_plugin.training.score_sets import score_sets


def main(arguments: list[str]) -> list[dict]:
    """Do what a YAML says; return the table of test scores."""
    hparams, run_opts = load(arguments)
    rows = prepare(hparams)
    fit(hparams, run_opts, rows, ClapBrain)
    export(hparams)
    return score_sets(hparams, run_opts, rows)


if __name__ == "__main__":
    main(sys.argv[1:])
