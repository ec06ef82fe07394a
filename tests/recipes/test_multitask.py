import importlib.util
import json
import re
import signal
import time

import pytest
import torch
from safetensors.torch import load_file


@pytest.fixture(scope="session")
def main(root):
    path = root / "recipes" / "multitask" / "train.py"
    spec = importlib.util.spec_from_file_location("multitask_train", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def losses(folder, kind="train"):
    log = (folder / "train_log.txt").read_text()
    return [float(loss) for loss in re.findall(rf"{kind} loss: ([\d.e+-]+)", log)]


def trained_weights(folder):
    newest = sorted((folder / "save").glob("CKPT*/WHOLE"))[-1].parent
    return torch.load(newest / "pengi.ckpt", weights_only=True)


def test_a_run_learns_writes_its_table_and_exports_its_model(main, arguments, tmp_path):
    table = main(arguments(number_of_epochs=16, lr=0.02))
    run = tmp_path / "run"
    assert losses(run)[-1] < 0.5 * losses(run)[0]
    groups = [line["group"] for line in table]
    assert groups == ["tones: captioning", "tones: question_answering, height"]
    for name in ("test_scores.md", "test_scores.csv", "train_log.txt"):
        assert (run / name).stat().st_size > 0
    answers = [json.loads(s) for s in (run / "test_answers.jsonl").open()]
    assert len(answers) == 16
    assert list((run / "tensorboard").rglob("events*"))
    assert (run / "model" / "hyperparams.yaml").exists()
    state = trained_weights(run)
    assert not any(key.startswith(("lm.", "text_encoder.")) for key in state)


def test_frozen_parts_are_bit_identical_after_training(main, arguments, tmp_path):
    main(arguments("short", number_of_epochs=1))
    main(arguments("long", number_of_epochs=3, lr=0.05))
    for part in ("lm", "text_encoder"):
        short = load_file(tmp_path / "short" / "model" / f"{part}.safetensors")
        long = load_file(tmp_path / "long" / "model" / f"{part}.safetensors")
        assert short.keys() == long.keys()
        assert all(torch.equal(short[key], long[key]) for key in short)
    short = load_file(tmp_path / "short" / "model" / "audio_mapper.safetensors")
    long = load_file(tmp_path / "long" / "model" / "audio_mapper.safetensors")
    assert not all(torch.equal(short[key], long[key]) for key in short)


def test_a_finished_run_that_is_started_again_gives_the_same_table(main, arguments):
    first = main(arguments())
    assert main(arguments()) == first


def finish(process, seconds=300):
    output, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, output[-12000:]


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(arguments, run_script, tmp_path):
    finish(run_script(arguments("one", batch_size=8, number_of_epochs=3)))
    finish(run_script(arguments("two", batch_size=4, number_of_epochs=3), 2))
    for kind in ("train", "valid"):
        one, two = losses(tmp_path / "one", kind), losses(tmp_path / "two", kind)
        assert two == pytest.approx(one, rel=1e-3)
    one, two = trained_weights(tmp_path / "one"), trained_weights(tmp_path / "two")
    for key, value in one.items():
        # Of a gradient near zero, Adam makes a step of its rate from its rounding.
        torch.testing.assert_close(two[key], value, rtol=1e-3, atol=3e-4)
    answers = [
        (tmp_path / name / "test_answers.jsonl").read_text() for name in ("one", "two")
    ]
    ids = [[json.loads(s)["id"] for s in text.splitlines()] for text in answers]
    assert ids[0] == ids[1]


@pytest.mark.slow
def test_a_run_killed_in_mid_epoch_ends_with_the_weights_of_an_unbroken_one(
    arguments, run_script, tmp_path
):
    options = {"number_of_epochs": 4, "batch_size": 1}
    options |= {"ckpt_interval_minutes": 0, "ckpt_interval_steps": 5}
    finish(run_script(arguments("whole", **options)))
    process = run_script(arguments("broken", **options))
    limit = time.monotonic() + 120
    while not in_mid_epoch(tmp_path / "broken"):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < limit
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finish(run_script(arguments("broken", **options)))
    whole = trained_weights(tmp_path / "whole")
    broken = trained_weights(tmp_path / "broken")
    assert all(torch.equal(whole[key], broken[key]) for key in whole)


def in_mid_epoch(folder):
    """Tell whether the newest checkpoint is of the second epoch's middle."""
    log = folder / "train_log.txt"
    if not log.exists() or "epoch: 1" not in log.read_text():
        return False
    metas = [p.read_text() for p in folder.glob("save/CKPT*/CKPT.yaml")]
    return any("intra_epoch" in meta.lower() for meta in metas)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pretrained_folder": "no/such/model"}, "no/such/model"),
        ({"audio_encoder_init": "./no/clap.pth"}, "no/clap.pth"),
    ],
)
def test_a_wrong_option_is_named(main, arguments, options, message):
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        main(arguments(**options))
