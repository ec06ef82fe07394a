"""Train by plain gradient descent, and save the result: run by test_nodes.py.

    fit_by_descent.py RESULT pengi|clap KILLED YAML [--key value ...]

Adam makes a step of its full rate from the rounding of a gradient near zero, so that
runs which differ in nothing else cannot be compared closely. KILLED is the number of
the batch before which process 1 of the first attempt kills itself; 0: it does not.
"""

import os
import signal
import sys
from functools import partial

import torch

from pengi_plugin.training import processes, run
from pengi_plugin.training.brain import PengiBrain
from pengi_plugin.training.clap_brain import ClapBrain
from pengi_plugin.training.sums import merge


def mortal(brain_class, last_batch):
    """Return a Brain whose process 1 dies in its first attempt."""

    class Mortal(brain_class):
        n_batch = 0

        def fit_batch(self, batch):
            self.n_batch += 1
            is_first = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
            if self.n_batch == last_batch and is_first and processes.rank() == 1:
                print("Process 1 kills itself.", flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            return super().fit_batch(batch)

    return Mortal


def main(path, kind, killed, arguments):
    """Train; save the weights, and the sums of the last validation."""
    hparams, run_opts = run.load(arguments)
    hparams["opt_class"] = partial(torch.optim.SGD, lr=0.01)
    for module in hparams["model"][kind].modules():
        if isinstance(module, torch.nn.Dropout):  # other in every process
            module.p = 0.0
    brain_class = {"pengi": PengiBrain, "clap": ClapBrain}[kind]
    if killed:
        brain_class = mortal(brain_class, killed)
    brain = run.fit(hparams, run_opts, run.prepare(hparams), brain_class)
    validated = merge(processes.gather(brain.sums.state()))["tasks"]
    if processes.rank() == 0:
        torch.save([brain.module(kind).trained_state(), validated], path)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
