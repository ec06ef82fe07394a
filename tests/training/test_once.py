"""What takes long is found out about a run's rows once, and again when they change."""

import json

import numpy as np
import pytest
import soundfile

from pengi_plugin.data.manifest import concatenate, read_manifest
from pengi_plugin.training import run
from pengi_plugin.training.once import once
from tests.doubles import Letters


def test_it_is_found_again_when_what_it_depends_on_changes(tmp_path):
    def found(value, key):
        return once(tmp_path / "x", key, lambda: {"a": np.array(value)})["a"].tolist()

    assert found([1, 2], {"n": 1, "of": ("b",)}) == [1, 2]
    assert found([3], {"n": 1, "of": ("b",)}) == [1, 2]
    assert found([], {"n": 2}) == []
    assert found([5], {"n": 1, "of": ("b",)}) == [5]
    (tmp_path / "x" / "record.json").write_text("{")
    assert found([6], {"n": 1, "of": ("b",)}) == [6]


def test_what_fails_leaves_nothing(tmp_path):
    def fail():
        raise FileNotFoundError("a.wav")

    for _ in range(2):
        with pytest.raises(FileNotFoundError, match=r"a\.wav"):
            once(tmp_path / "x", {}, fail)
    assert not list(tmp_path.iterdir())


def write(path, n_row, **fields):
    path.parent.mkdir(exist_ok=True)
    rows = {
        str(n): {"wav": f"{n}.wav", "duration": 1.0, "task": "captioning"}
        | {"caption": f"number {n}", "source": f"freesound:{n}", **fields}
        for n in range(n_row)
    }
    path.write_text(json.dumps(rows))
    return read_manifest(path, path.parent.name)


@pytest.fixture
def hparams(tmp_path):
    """Options of a run without a model."""
    (tmp_path / "save").mkdir()
    model = {"sample_rate": 100, "clip_seconds": 1.0}
    model |= {"tokenizer": Letters(), "answer_end": "z"}
    return {
        **{"save_folder": str(tmp_path / "save"), "keep_overlaps": False},
        **{"valid_share": 0.3, "tasks": None, "task_weights": None, "seed": 0},
        **{"pairs_per_clip": 1, "valid_pairs_per_clip": None, "model": model},
        "max_unreadable_share": 0.0,
    }


def test_rows_are_chosen_anew_only_when_manifests_or_options_change(
    hparams, tmp_path, monkeypatch
):
    calls = []

    def leave_out(*arguments):
        calls.append(arguments)
        return original(*arguments)

    original = run.leave_out_test_clips
    monkeypatch.setattr(run, "leave_out_test_clips", leave_out)

    def choose(**options):
        nothing = concatenate([])
        splits = {"train": read_manifest(tmp_path / "m" / "train.json", "m")}
        rows = run.concatenate_splits([splits | {"valid": nothing, "test": nothing}])
        sets = [("t", read_manifest(tmp_path / "t" / "test.json", "t"))]
        chosen = run.choose_rows({**hparams, **options}, rows, sets)
        return {split: sorted(some) for split, some in chosen.items()}, len(calls)

    write(tmp_path / "m" / "train.json", 40)
    write(tmp_path / "t" / "test.json", 2)
    first, n_call = choose()
    assert n_call == 1
    assert len(first["train"]) + len(first["valid"]) == 38
    assert first["valid"]
    assert choose() == (first, 1)
    kept, n_call = choose(keep_overlaps=True)
    assert (n_call, len(kept["train"]) + len(kept["valid"])) == (2, 40)
    write(tmp_path / "t" / "test.json", 3)
    fewer, n_call = choose()
    assert (n_call, len(fewer["train"]) + len(fewer["valid"])) == (3, 37)
    write(tmp_path / "m" / "train.json", 41)
    assert choose()[1] == 4


def test_files_and_answers_are_looked_at_once_until_rows_or_options_change(
    hparams, tmp_path
):
    class Brain:
        n_check = 0

        @classmethod
        def check(cls, hparams, dataset):
            cls.n_check += 1

    for n in range(4):
        soundfile.write(tmp_path / f"{n}.wav", np.full(50, 0.25), 100)
    rows = {"train": write(tmp_path / "train.json", 4)}
    rows |= dict.fromkeys(("valid", "test"), write(tmp_path / "valid.json", 2))
    for _ in range(2):
        absent = run.check_rows(hparams, rows, Brain)
        assert [found.tolist() for found in absent.values()] == [[], []]
        assert Brain.n_check == 3  # a data set of each split
    (tmp_path / "3.wav").unlink()
    run.check_rows(hparams, rows, Brain)
    assert Brain.n_check == 3  # found when it is read
    rows["train"] = write(tmp_path / "train.json", 4, question="new")
    with pytest.raises(FileNotFoundError, match=r"1 of 4 audio files .*3\.wav"):
        run.check_rows(hparams, rows, Brain)
    hparams["max_unreadable_share"] = 0.5
    absent = run.check_rows(hparams, rows, Brain)
    assert absent["train"].tolist() == [3]
    assert Brain.n_check == 6
    dataset = run.make_dataset(hparams, rows["train"], absent=absent["train"])
    assert dataset.unreadable == {3}
