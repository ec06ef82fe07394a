"""Sums of several processes: what is logged and kept is of all of them."""

import os
import re
import subprocess
import sys

import pytest

TWO_PROCESSES = """
import os, sys, types
import torch
from torch import nn
from speechbrain.utils.run_opts import RunOptions
from pengi_plugin.data.dataset import ClipDataset
from pengi_plugin.training.brain import PengiBrain
from pengi_plugin.training.checkpoints import WholeCheckpointer
from pengi_plugin.training.run import join_processes
run_opts = RunOptions.from_dictionary(
    {"device": "cpu", "distributed_backend": "gloo", "distributed_launch": True}
)
join_processes(run_opts)
rank = int(os.environ["RANK"])
def make():
    checkpointer = WholeCheckpointer(sys.argv[1])
    return PengiBrain({"layer": nn.Linear(1, 1)}, None, {}, run_opts, checkpointer)
first = make()
first.sums.add(["a", "b"], [[3.0, 1.0], [5.0, 7.0]][rank], [[1, 2], [3, 2]][rank])
first.sums.add_word([2.0, 4.0][rank])
first.sums.n_skipped = 1
whole = first.mean_losses()
first._save_intra_epoch_ckpt()
assert first.mean_losses() == whole
resumed = make()
resumed.checkpointer.recover_if_possible()
resumed.sums.start()
both = resumed.mean_losses()
resumed.log_epoch = lambda *_: None
dataset = ClipDataset.__new__(ClipDataset)
dataset._unreadable = torch.zeros(10, dtype=torch.bool)
dataset._unreadable[[0, 3 + rank]] = True
dataset.data_ids, dataset.max_unreadable_share = list(range(10)), float(sys.argv[3])
resumed.train_set = dataset
import speechbrain as sb
resumed.on_stage_end(sb.Stage.TRAIN, 0.0, 1)
if rank == 0:
    print("FOUND", whole == both, sorted(whole.items()), resumed.train_losses)
"""


@pytest.fixture
def run(root, tmp_path):
    """Return a function: allowed share of unreadable clips -> the finished run."""

    def launch(share):
        script = tmp_path / "two_processes.py"
        script.write_text(TWO_PROCESSES)
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc_per_node=2", script, tmp_path / "save", "x", str(share)]
        return subprocess.run(
            command,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return launch


@pytest.mark.slow
def test_losses_and_unreadable_clips_are_those_of_all_processes_also_resumed(run):
    done = run(0.5)
    assert done.returncode == 0, done.stderr[-4000:]
    (line,) = re.findall("FOUND (.*)", done.stdout)
    # a: (3 + 5) / (1 + 3); b: (1 + 7) / (2 + 2); together 16 / 8.
    assert line.startswith("True [('loss', 2.0), ('loss_a', 2.0), ('loss_b', 2.0)]")
    # Of both processes' word losses 2 and 4; clip 0 is unreadable to both.
    assert "'word_loss': 3.0" in line
    assert "'skipped_updates': 1" in line
    assert "'unreadable_clips': 3" in line


@pytest.mark.slow
def test_clips_that_are_too_many_in_all_processes_together_stop_the_run(run):
    done = run(0.2)  # two of ten in each process are allowed, three are not
    assert done.returncode != 0
    assert "3 of 10 clips cannot be read, more than max_unreadable_share=0.2" in (
        done.stderr
    )
