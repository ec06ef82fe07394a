"""The main job on tones: what it learns, writes, exports and scores."""

import csv
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file

from pengi_plugin.inference import AudioLanguageModel
from pengi_plugin.pretrained.folder import load_folder
from pengi_plugin.training import run, testing
from pengi_plugin.training.brain import PengiBrain


def losses(folder, kind="train"):
    log = (folder / "train_log.txt").read_text()
    return [float(loss) for loss in re.findall(rf"{kind} loss: ([\d.e+-]+)", log)]


def trained_weights(folder):
    newest = sorted((folder / "save").glob("CKPT*/WHOLE"))[-1].parent
    return torch.load(newest / "pengi.ckpt", weights_only=True)


def test_a_run_learns_writes_its_table_and_exports_its_model(finished):
    _, folder, table = finished
    assert losses(folder)[-1] < 0.5 * losses(folder)[0]
    assert {(line["group"], line["metric"]) for line in table} == {
        ("tones: captioning", "CIDEr-D"),
        ("tones: question_answering, height", "exact match"),
    }
    for name in ("test_scores.md", "test_scores.csv", "train_log.txt"):
        assert (folder / name).stat().st_size > 0
    answers = [json.loads(s) for s in (folder / "test_answers.jsonl").open()]
    assert len(answers) == 16
    asked = [row for row in answers if row["prompt"].startswith("question:")]
    right = [row["answer"] in row["references"] for row in asked]
    (line,) = [line for line in table if line["group"].endswith(", height")]
    assert line["score"] == sum(right) / len(right)
    assert {"commonest", "shuffled"} <= line.keys()
    assert "(reference:" in (folder / "log.txt").read_text()
    assert list((folder / "tensorboard").rglob("events*"))
    assert (folder / "model" / "hyperparams.yaml").exists()
    state = trained_weights(folder)
    assert not any(key.startswith(("lm.", "text_encoder.")) for key in state)


def test_the_folder_of_a_run_holds_the_yaml_as_it_was_run(finished):
    text = (finished[1] / "hyperparams.yaml").read_text()
    tree = YAML().load(text)
    assert tree["number_of_epochs"] == tree["epoch_counter"]["limit"] == 16
    assert tree["batch_size"] == tree["train_dataloader_opts"]["batch_size"] == 4
    assert tree["model"]["d_model"] == 16
    assert "word_head" in tree["checkpointer"]["recoverables"]
    assert not re.search(r"^(include:|[^#\n]*(!include|!ref))", text, re.MULTILINE)


def test_frozen_parts_are_bit_identical_after_training(
    main, arguments, finished, tmp_path
):
    main(arguments("short", number_of_epochs=1))
    short, long = tmp_path / "short" / "model", finished[1] / "model"
    for part in ("lm", "text_encoder", "audio_mapper"):
        a, b = (load_file(folder / f"{part}.safetensors") for folder in (short, long))
        assert a.keys() == b.keys()
        same = all(torch.equal(a[key], b[key]) for key in a)
        assert same == (part != "audio_mapper"), part


def test_a_finished_run_that_is_started_again_gives_the_same_table(main, finished):
    arguments, folder, table = finished
    epochs = len(losses(folder))
    assert main(arguments) == table
    assert len(losses(folder)) == epochs


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


# What is scored is what is exported


def test_the_best_checkpoint_is_exported_and_scored_not_the_newest(
    main, arguments, tmp_path, monkeypatch
):
    true_losses = PengiBrain.mean_losses

    def worse_every_epoch(brain):
        return true_losses(brain) | {"loss": float(brain.hparams.epoch_counter.current)}

    monkeypatch.setattr(PengiBrain, "mean_losses", worse_every_epoch)
    main(arguments(number_of_epochs=3, lr=0.05))
    folder = tmp_path / "run"
    best, newest = (
        torch.load(path / "pengi.ckpt", weights_only=True)
        for path in sorted((folder / "save").glob("CKPT*"))
    )
    exported = load_file(folder / "model" / "audio_mapper.safetensors")
    weights = {f"audio_mapper.{name}": value for name, value in exported.items()}
    assert all(torch.equal(best[name], value) for name, value in weights.items())
    assert not all(torch.equal(newest[name], value) for name, value in weights.items())

    answered = [json.loads(line) for line in (folder / "test_answers.jsonl").open()]
    model = AudioLanguageModel.from_hparams(
        folder / "model", run_opts={"device": "cpu"}
    )
    asked = [[row[name] for row in answered] for name in ("wav", "prompt")]
    written = [row["answer"] for row in answered]
    assert model.generate_files(*asked, batch_size=4) == written


def test_a_score_that_fails_leaves_the_exported_model(
    main, arguments, tmp_path, monkeypatch
):
    def fail(*arguments):
        raise RuntimeError("no scores today")

    monkeypatch.setattr(testing, "score_tasks", fail)
    with pytest.raises(RuntimeError, match="no scores today"):
        main(arguments(number_of_epochs=1))
    load_folder(tmp_path / "run" / "model")  # strict


def test_answers_are_kept_apart_by_the_weights_that_gave_them(tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    hparams = {"export_folder": folder, "output_folder": tmp_path, "eval_batch_size": 2}
    first = run.open_session(hparams, {"device": "cpu"})
    again = run.open_session(hparams, {"device": "cpu"})
    weights = load_file(folder / "audio_mapper.safetensors")
    weights[min(weights)] += 1
    save_file(weights, folder / "audio_mapper.safetensors")
    other = run.open_session(hparams, {"device": "cpu"})
    assert first.folder == again.folder != other.folder
    assert first.settings == again.settings != other.settings


# A folder is one run's


def test_another_run_in_the_folder_is_refused_and_the_first_stays_as_it_was(
    main, finished
):
    arguments, folder, _ = finished
    kept = ("hyperparams.yaml", "test_scores.md", "train_log.txt", "save/run.json")
    before = {name: (folder / name).read_text() for name in kept}
    other = arguments.copy()
    other[other.index("--lr") + 1] = "0.01"
    with pytest.raises(ValueError, match=r"another run \(.*lr: 0.02 then, 0.01 now"):
        main(other)
    with pytest.raises(ValueError, match=r"max_grad_norm: 1.0 then, 2.0 now"):
        main([*arguments, "--max_grad_norm", "2.0"])
    assert before == {name: (folder / name).read_text() for name in kept}


def test_a_run_on_other_rows_is_refused_with_their_numbers(
    main, finished, tones, tmp_path
):
    arguments, _, _ = finished
    fewer = shutil.copytree(tones, tmp_path / "fewer")
    rows = json.loads((fewer / "train.json").read_text())
    rows.popitem()
    (fewer / "train.json").write_text(json.dumps(rows))
    other = [text.replace(str(tones), str(fewer)) for text in arguments]
    with pytest.raises(ValueError, match=r"train rows: '48 \(.*then, '47 \("):
        main(other)


def test_a_run_goes_on_when_its_clips_and_its_folder_were_moved(
    main, finished, tones, tmp_path
):
    arguments, folder, table = finished
    moved = shutil.copytree(tones, tmp_path / "moved")
    for path in moved.glob("*.json"):
        path.write_text(path.read_text().replace(str(tones), str(moved)))
    copy = shutil.copytree(folder, tmp_path / "copy")
    given = [text.replace(str(tones), str(moved)) for text in arguments]
    given = [text.replace(str(folder), str(copy)) for text in given]
    assert main(given) == table
    assert losses(copy) == losses(folder)


def test_more_epochs_go_on_at_the_rates_of_a_run_of_that_length(
    main, arguments, tmp_path, monkeypatch
):
    rates = []
    true_update = PengiBrain.update_is_finite

    def note_rate(brain):
        rates.append((brain.optimizer_step + 1, brain.optimizer.param_groups[0]["lr"]))
        return true_update(brain)

    monkeypatch.setattr(PengiBrain, "update_is_finite", note_rate)
    main(arguments("long", number_of_epochs=4))
    whole = dict(rates)
    rates.clear()
    main(arguments("extended", number_of_epochs=2))
    rates.clear()
    main(arguments("extended", number_of_epochs=4))
    assert len(whole) == 24
    assert rates == [(update, whole[update]) for update in range(13, 25)]
    assert min(rate for _, rate in rates) > 0
    assert len(losses(tmp_path / "extended")) == 4


def test_fewer_epochs_than_a_run_has_behind_it_are_told(main, finished, tmp_path):
    arguments, folder, table = finished
    copy = shutil.copytree(folder, tmp_path / "copy")
    fewer = [text.replace(str(folder), str(copy)) for text in arguments]
    fewer[fewer.index("--number_of_epochs") + 1] = "3"
    assert main(fewer) == table
    log = (copy / "log.txt").read_text()
    assert "number_of_epochs is 3, but this run has 16 behind it" in log


def test_a_run_holds_its_folder_until_its_process_ends(finished):
    program = (
        "import sys\n"
        "from pengi_plugin.storage.lock import hold_folder\n"
        "hold_folder(sys.argv[1])\n"
    )
    words = [sys.executable, "-c", program, str(finished[1])]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"written by process {os.getpid()} on" in done.stderr


def test_a_run_is_refused_in_a_folder_that_another_process_holds(
    main, arguments, tmp_path
):
    program = (
        "import sys\n"
        "from pengi_plugin.storage.lock import hold_folder\n"
        "hold_folder(sys.argv[1])\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "run")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, **pipes) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError, match=f"process {holder.pid} on"):
            main(arguments())


@pytest.mark.slow
def test_a_second_run_in_the_folder_is_refused_while_the_first_lives(
    arguments, run_script, main, tmp_path
):
    given = arguments(number_of_epochs=2000)
    first = run_script(given)
    try:
        limit = time.monotonic() + 120
        while not (tmp_path / "run" / "train_log.txt").exists():
            assert first.poll() is None, first.communicate()[0][-3000:]
            assert time.monotonic() < limit
            time.sleep(0.1)
        with pytest.raises(BlockingIOError, match=f"process {first.pid} on"):
            main(given)
    finally:
        first.kill()
        first.communicate()


# Runs that cannot go well


def test_too_few_clips_for_an_update_are_told_before_training(
    main, arguments, tmp_path
):
    with pytest.raises(ValueError, match=r"no update.*batch_size=25"):
        main(arguments(batch_size=25))
    with pytest.raises(ValueError, match=r"no update.*grad_accumulation_factor=7"):
        main([*arguments(), "--grad_accumulation_factor", "7"])
    assert not (tmp_path / "run" / "train_log.txt").exists()


def test_a_full_disk_stops_the_run_and_the_newest_good_checkpoint_goes_on(
    main, arguments, tmp_path, monkeypatch
):
    given = arguments(number_of_epochs=3)
    true_save, saved = torch.save, []

    def fill(state, path, *rest):
        saved.append(path)
        if len(saved) > n_fitting:
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        return true_save(state, path, *rest)

    n_fitting = float("inf")
    monkeypatch.setattr(torch, "save", fill)
    main(arguments("counted", number_of_epochs=1))
    n_fitting = len(saved) + 1  # the second checkpoint is cut off
    saved.clear()
    with pytest.raises(OSError, match=r"No space left on device.*is whole"):
        main(given)
    (kept,) = (tmp_path / "run" / "save").glob("CKPT*")
    assert (kept / "WHOLE").exists()
    assert not (tmp_path / "run" / "model").exists()
    monkeypatch.setattr(torch, "save", true_save)
    main(given)
    assert len(losses(tmp_path / "run")) == 4  # the second epoch was logged twice
    load_folder(tmp_path / "run" / "model")


def test_a_run_whose_updates_are_never_finite_stops_and_keeps_its_weights(
    main, arguments, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        PengiBrain,
        "compute_objectives",
        lambda brain, outputs, batch, stage: outputs[0].sum() * float("nan"),
    )
    with pytest.raises(FloatingPointError, match="4 updates in a row"):
        main(arguments())
    assert not (tmp_path / "run" / "model").exists()


def test_a_validation_loss_of_nan_is_never_exported(
    main, arguments, tmp_path, monkeypatch
):
    true_losses = PengiBrain.mean_losses

    def nan_after_the_first(brain):
        found = true_losses(brain)
        wrong = (
            {"loss": float("nan")} if brain.hparams.epoch_counter.current > 1 else {}
        )
        return found | wrong

    monkeypatch.setattr(PengiBrain, "mean_losses", nan_after_the_first)
    main(arguments(number_of_epochs=3, lr=0.05))
    first, newest = (
        torch.load(path / "pengi.ckpt", weights_only=True)
        for path in sorted((tmp_path / "run" / "save").glob("CKPT*"))
    )
    exported = load_file(tmp_path / "run" / "model" / "audio_mapper.safetensors")
    for name, value in exported.items():
        assert torch.equal(first[f"audio_mapper.{name}"], value)
    assert any(not torch.equal(first[name], newest[name]) for name in first)


def test_a_run_without_any_finite_validation_loss_exports_nothing(
    main, arguments, tmp_path, monkeypatch
):
    monkeypatch.setattr(PengiBrain, "mean_losses", lambda brain: {"loss": float("inf")})
    with pytest.raises(FileNotFoundError, match="a finite validation loss"):
        main(arguments(number_of_epochs=1))
    assert list((tmp_path / "run" / "save").glob("CKPT*"))
    assert not (tmp_path / "run" / "model").exists()


def test_a_run_says_how_long_it_will_take_and_what_makes_it_shorter(
    main, arguments, tmp_path
):
    main(arguments(number_of_epochs=4))
    log = (tmp_path / "run" / "log.txt").read_text()
    (line,) = re.findall(r"Training takes .*", log)
    assert "4 updates of " in line
    assert "1 validations of" in line
    assert "--number_of_epochs (now 4)" in line


# Manifests


def write_csv(tones, folder, only=""):
    """Write the manifests of tones as CSV, all rows or those with a field."""
    folder.mkdir()
    for split in ("train", "valid", "test"):
        rows = json.loads((tones / f"{split}.json").read_text())
        rows = {key: row for key, row in rows.items() if only in ("", *row)}
        names = dict.fromkeys(["ID", *(name for row in rows.values() for name in row)])
        with (folder / f"{split}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows({"ID": key, **row} for key, row in rows.items())
    return folder


def test_csv_manifests_give_the_rows_of_json_ones(tones, tmp_path):
    folder = write_csv(tones, tmp_path / "csv")
    from_json, from_csv = (
        run.prepare(
            {
                "corpora": {"tones": {"manifest_folder": path, "share": 1.0}},
                "save_folder": tmp_path / "save",
                "data_folder": tmp_path,
                "data_root": None,
                "known_corpora": {},
                "held_out": [],
                "held_out_corpora": {},
                "keep_overlaps": False,
                "valid_share": 0.01,
                "share_exponent": 0.7,
            }
        )
        for path in (tones, folder)
    )
    assert from_json == from_csv
    assert {split: len(rows) for split, rows in from_csv.items()} == {
        "train": 48,
        "valid": 16,
        "test": 16,
    }


@pytest.mark.parametrize("yaml", ["pengi.yaml", "pengi_base.yaml"])
def test_clips_with_questions_alone_train_with_and_without_a_word_head(
    main, arguments, tones, tmp_path, yaml
):
    options = {"grad_accumulation_factor": 1, "num_workers": 0, "n_sample_answer": 0}
    folder = write_csv(tones, tmp_path / "questions", only="question")
    table = main(arguments(yaml=yaml, folder=folder, number_of_epochs=1, **options))
    assert {line["metric"] for line in table} == {"exact match"}
    log = (tmp_path / "run" / "train_log.txt").read_text()
    assert ("word_loss: 0.00" in log) == (yaml == "pengi.yaml")


# Options


def test_a_test_row_that_the_model_cannot_read_is_told_before_training(
    main, arguments, tones, tmp_path
):
    folder = write_csv(tones, tmp_path / "questions", only="question")
    text = (folder / "test.csv").read_text()
    text = text.replace("is it high or low?", "why? " * 200, 1)
    (folder / "test.csv").write_text(text)
    with pytest.raises(ValueError, match=r"tokens.*why\? why\?"):
        main(arguments(folder=folder))
    assert not (tmp_path / "run" / "train_log.txt").exists()


def test_a_run_with_a_save_folder_of_its_own_exports_its_own_weights(
    main, arguments, tmp_path
):
    weights = []
    for options in ({}, {"save_folder": tmp_path / "disk", "seed": 5, "lr": 0.1}):
        main(arguments(number_of_epochs=1, **options))
        path = tmp_path / "run" / "model" / "audio_encoder.safetensors"
        weights.append(path.read_bytes())
    assert weights[0] != weights[1]


def test_a_yaml_may_name_the_folder_that_it_continues_from(
    root, main, arguments, tiny_folder, tmp_path
):
    words = arguments(number_of_epochs=1, lr=0.0)
    yaml = tmp_path / "hparams" / "mine.yaml"
    shutil.copytree(root / "hparams", yaml.parent)
    yaml.write_text(f"include: pengi.yaml\npretrained_folder: {tiny_folder}\n")
    index = words.index("--model")
    main([str(yaml), *words[1:index], *words[index + 2 :]])
    for part in ("lm", "text_encoder", "audio_mapper"):
        name = f"{part}.safetensors"
        new = (tmp_path / "run" / "model" / name).read_bytes()
        assert new == (tiny_folder / name).read_bytes()
