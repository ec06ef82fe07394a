#!/usr/bin/env python3
"""Train Pengi on several corpora and tasks at once, export it, and test it.

    python recipes/multitask/train.py hparams/pengi.yaml [--key value ...]

Several processes or machines: the same behind torchrun. README.md beside this file
lists the YAMLs and what they give.
"""

import sys

from pengi_plugin.training.run import train as main

if __name__ == "__main__":
    main(sys.argv[1:])
