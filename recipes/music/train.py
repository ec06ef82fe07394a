#!/usr/bin/env python3
"""Train Pengi on notes and attributes of music, export it, and test it.

    python recipes/music/train.py hparams/music.yaml

README.md beside this file has the commands for fine-tuning and for the task's corpora.
"""

import sys

from pengi_plugin.training.run import train as main

if __name__ == "__main__":
    main(sys.argv[1:])
