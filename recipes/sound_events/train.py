#!/usr/bin/env python3
"""Train Pengi on the sounds of clips, export it, and test it.

    python recipes/sound_events/train.py hparams/sound_events.yaml
    python recipes/sound_events/train.py hparams/sound_events_esc50.yaml

README.md beside this file has the commands for fine-tuning and for the task's corpora.
"""

import sys

from pengi_plugin.training.run import export, fit, load, prepare, test


def main(arguments: list[str]) -> list[dict]:
    """Do what a YAML says; return the table of test scores."""
    hparams, run_opts = load(arguments)
    rows = prepare(hparams)  # of the YAML's keep_tasks alone
    fit(hparams, run_opts, rows)
    export(hparams)
    return test(hparams, run_opts, rows)


if __name__ == "__main__":
    main(sys.argv[1:])
