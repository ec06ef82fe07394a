"""The embedded default, killed at random moments, ends as an unbroken run does."""

import random
import re
import time

import pytest
import torch

#: A short run of the main job with its own model: 24 updates, a checkpoint every 3.
OPTIONS = {
    "n_train": 96,
    "n_valid": 8,
    "n_test": 8,
    "batch_size": 8,
    "number_of_epochs": 2,
    "n_warmup": 4,
    "n_sample_answer": 2,
    "precision": "fp32",
    "ckpt_interval_minutes": 0,
    "ckpt_interval_steps": 3,
}

#: How often the run is killed: while it saves, and at some other time.
N_KILLED_SAVING, N_KILLED = 3, 4


def finish(process, seconds=600):
    output, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, output[-12000:]


def checkpoints(folder):
    """Return the folders of checkpoints that are whole, and of those that are not."""
    found = {True: set(), False: set()}
    for path in folder.glob("save/CKPT*"):
        found[(path / "WHOLE").exists()].add(path.name)
    return found[True], found[False]


def kill_in_a_save(process, folder):
    """Kill a run when a checkpoint is there in part."""
    while process.poll() is None and not checkpoints(folder)[1]:
        time.sleep(0.0005)
    process.kill()
    process.communicate()


def kill_after(process, folder, seconds):
    """Kill a run some time after it has made a checkpoint of its own."""
    before = checkpoints(folder)[0]
    while process.poll() is None and not checkpoints(folder)[0] - before:
        time.sleep(0.01)
    time.sleep(seconds)
    process.kill()
    process.communicate()


def result_of(folder):
    """Return the newest checkpoint's weights and optimizer, and the training log."""
    newest = max(folder.glob("save/CKPT*/WHOLE"), key=lambda path: path.parent.name)
    state = {
        name: torch.load(newest.with_name(f"{name}.ckpt"), weights_only=True)
        for name in ("pengi", "word_head", "optimizer")
    }
    # An epoch that ended just before the run was killed is logged again.
    lines = dict.fromkeys((folder / "train_log.txt").read_text().splitlines())
    return state, [line for line in lines if line]


def tensors(tree, path=""):
    """Yield the tensors of a nested state with their paths."""
    if isinstance(tree, torch.Tensor):
        yield path, tree
    elif isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, value in items:
            yield from tensors(value, f"{path}.{key}")


@pytest.mark.slow
def test_the_embedded_default_killed_at_random_ends_bit_by_bit_as_unbroken(
    run_script, root, tmp_path
):
    def arguments(name):
        options = OPTIONS | {"data_folder": tmp_path / "data"}
        options["output_folder"] = tmp_path / name
        flags = [f"--{key}={value}" for key, value in options.items()]
        return [str(root / "hparams" / "pengi.yaml"), *flags]

    finish(run_script(arguments("whole")))
    moments = random.Random(7)
    broken = tmp_path / "broken"
    kills = [(kill_in_a_save, ())] * N_KILLED_SAVING
    kills += [(kill_after, (moments.uniform(0, 1.5),)) for _ in range(N_KILLED)]
    moments.shuffle(kills)
    n_killed, n_cut_off = 0, 0
    for kill, given in kills:
        process = run_script(arguments("broken"))
        kill(process, broken, *given)
        n_killed += process.returncode != 0
        n_cut_off += bool(checkpoints(broken)[1])
    assert n_killed >= N_KILLED_SAVING
    assert n_cut_off > 0
    finish(run_script(arguments("broken")))
    assert not checkpoints(broken)[1]

    (state, log), (other, other_log) = result_of(tmp_path / "whole"), result_of(broken)
    expected, found = dict(tensors(state)), dict(tensors(other))
    assert expected.keys() == found.keys()
    differ = [name for name in expected if not torch.equal(expected[name], found[name])]
    assert not differ
    assert log == other_log
    assert len(re.findall("epoch: 2", log[-1])) == 1
    answers = [tmp_path / run / "test_answers.jsonl" for run in ("whole", "broken")]
    assert answers[0].read_text() == answers[1].read_text()
