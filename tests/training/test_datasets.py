"""The rows and files of a run are looked at before it trains."""

import json

import numpy as np
import pytest
import soundfile

from pengi_plugin.data.manifest import read_manifest
from pengi_plugin.training.datasets import check_rows, make_dataset
from tests.doubles import Letters


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
        **{"save_folder": str(tmp_path / "save"), "seed": 0},
        **{"tasks": None, "task_weights": None},
        **{"pairs_per_clip": 1, "valid_pairs_per_clip": None, "model": model},
        "max_unreadable_share": 0.0,
    }


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
        absent = check_rows(hparams, rows, Brain)
        assert [found.tolist() for found in absent.values()] == [[], []]
        assert Brain.n_check == 3  # a data set of each split
    (tmp_path / "3.wav").unlink()
    check_rows(hparams, rows, Brain)
    assert Brain.n_check == 3  # found when it is read
    rows["train"] = write(tmp_path / "train.json", 4, question="new")
    with pytest.raises(FileNotFoundError, match=r"1 of 4 audio files .*3\.wav"):
        check_rows(hparams, rows, Brain)
    hparams["max_unreadable_share"] = 0.5
    absent = check_rows(hparams, rows, Brain)
    assert absent["train"].tolist() == [3]
    assert Brain.n_check == 6
    dataset = make_dataset(hparams, rows["train"], absent=absent["train"])
    assert dataset.unreadable == {3}
