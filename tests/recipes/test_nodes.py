"""Two nodes of two processes: the losses of one process, also after a kill."""

import functools
import os
import re
import socket
import subprocess
import sys

import pytest
import torch

#: Three updates of 8 clips an epoch. Eight clips are validated in batches of 3: one
#: process has no batch, and the last batch is not full.
OPTIONS = {
    "batch_size": 8,
    "eval_batch_size": 3,
    "number_of_epochs": 2,
    "n_sample_answer": 4,
    "ckpt_interval_minutes": 0,
    "ckpt_interval_steps": 1,
}
KINDS = {"pengi": "pengi.yaml", "clap": "clap.yaml"}


def free_port():
    """Return a port that no process listens on."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def launch(root, make_arguments, tmp_path_factory):
    """Return a function that trains over nodes, and what the run left."""
    script = str(root / "tests" / "recipes" / "fit_by_descent.py")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--max-restarts=1"]
    torchrun += ["--rdzv_backend=c10d", "--rdzv_id=test"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    env["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # see training.run

    @functools.cache
    def run(kind, n_node, n_process, killed=0):
        folder = tmp_path_factory.mktemp(kind)
        options = {**OPTIONS, "batch_size": 8 // (n_node * n_process)}
        command = [*torchrun, f"--nnodes={n_node}", f"--nproc_per_node={n_process}"]
        command += [f"--rdzv_endpoint=localhost:{free_port()}", script]
        command += [str(folder / "result.pt"), kind, str(killed)]
        command += make_arguments(folder, yaml=KINDS[kind], **options)
        command += ["--distributed_backend=gloo", "--device=cpu"]
        logs = [folder / f"node_{node}.log" for node in range(n_node)]
        nodes = []
        for log in logs:
            with open(log, "w") as file:
                streams = {"stdout": file, "stderr": subprocess.STDOUT}
                nodes.append(subprocess.Popen(command, cwd=root, env=env, **streams))
        try:
            for node, log in zip(nodes, logs):
                assert node.wait(timeout=900) == 0, log.read_text()[-12000:]
        finally:
            for node in nodes:
                node.kill()
        weights, validated = torch.load(folder / "result.pt", weights_only=True)
        log = "".join(log.read_text() for log in logs)
        return weights, validated, epochs(folder), log

    return run


def epochs(folder):
    """Return each epoch's line of the training log."""
    lines = (folder / "train_log.txt").read_text().splitlines()
    return [line for line in lines if line]


def asked(log):
    """Return the prompts and references of the sample answers, in order."""
    return re.findall(r"- ([^\n]*?) -> [^\n]*(\(reference: [^\n]*\))", log)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_nodes_of_two_give_the_losses_of_one_process(kind, launch):
    one, one_validated, one_epochs, one_log = launch(kind, 1, 1)
    two, two_validated, two_epochs, two_log = launch(kind, 2, 2)
    assert len(one_epochs) == 2
    assert two_epochs == one_epochs
    assert two_validated.keys() == one_validated.keys()
    for task, (loss, n_token) in one_validated.items():
        # A clip that came twice, or not at all, would change the number.
        assert two_validated[task][1] == n_token
        assert two_validated[task][0] == pytest.approx(loss, rel=1e-5)
    assert one.keys() == two.keys()
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-6, atol=1e-6, msg=name)
    assert len(asked(one_log)) == (2 * 4 if kind == "pengi" else 0)
    assert asked(two_log) == asked(one_log)


@pytest.mark.slow
def test_a_killed_process_of_two_nodes_goes_on_to_the_weights_of_an_unbroken_run(
    launch,
):
    whole, validated, lines, _ = launch("pengi", 2, 2)
    broken, broken_validated, broken_lines, log = launch("pengi", 2, 2, killed=5)
    assert log.count("Process 1 kills itself.") == 1
    # It goes on in the second epoch, from the checkpoint after its first update.
    goes = [re.findall(f"Going into epoch {epoch}", log) for epoch in (1, 2)]
    assert [len(found) for found in goes] == [1, 2]
    # Of more than two processes, gradients may be added in another order when the first
    # update after a start lays out DDP's buckets: it rounds otherwise.
    assert whole.keys() == broken.keys()
    for name, weight in whole.items():
        torch.testing.assert_close(broken[name], weight, rtol=1e-6, atol=1e-8, msg=name)
    assert broken_validated.keys() == validated.keys()
    for task, (loss, n_token) in validated.items():
        assert broken_validated[task] == pytest.approx((loss, n_token), rel=1e-6)
    assert broken_lines == lines
