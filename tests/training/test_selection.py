"""Which rows of the corpora are trained on, and which validate."""

import pytest

from pengi_plugin.training.rows import describe
from pengi_plugin.training.selection import (
    hold_out_valid,
    keep_tasks,
    leave_out_test_clips,
    recordings_of,
)
from tests.training.small_corpora import rows_of


def test_training_rows_of_test_recordings_go_and_are_counted(caplog):
    train = rows_of("a", 4, source="freesound:{}") | rows_of("b", 2, source="bbc:{}")
    rows = {"train": dict(train), "test": rows_of("c", 2, 1, source="freesound:{}")}
    sets = [("bbc set", rows_of("d", 1, 1, source="bbc:{}"))]
    kept = {"train": dict(train), "test": rows["test"]}
    leave_out_test_clips(kept, sets, keep=True)
    assert "a                c         2" in caplog.text
    assert "3 of 6 training rows" in caplog.text
    assert "are kept" in caplog.text
    caplog.clear()
    leave_out_test_clips(rows, sets)
    assert list(rows["train"]) == ["a/0", "a/3", "b/0"]
    assert kept["train"] == train
    assert "3 of 6 training rows" in caplog.text
    assert "are left out" in caplog.text
    assert "b                bbc set   1" in caplog.text
    assert describe(rows)["train rows"] != describe(kept)["train rows"]
    everything = [("all", rows_of("e", 4, source="freesound:{}"))]
    with pytest.raises(ValueError, match=r"All training rows of a hold recordings"):
        leave_out_test_clips({"train": train, "test": {}}, everything)


def test_validation_rows_of_test_recordings_go_too(caplog):
    rows = {
        "train": rows_of("a", 3, source="freesound:{}"),
        "valid": rows_of("a", 3, 10, source="freesound:{}"),
        "test": rows_of("c", 2, 11, source="freesound:{}"),
    }
    leave_out_test_clips(rows)
    assert list(rows["valid"]) == ["a/10"]
    assert len(rows["train"]) == 3
    assert "2 of 3 validation rows" in caplog.text


def of_task(task, *ids):
    return {row_id: {"task": task} for row_id in ids}


def test_only_rows_of_the_tasks_to_keep_stay():
    captions, questions = of_task("captioning", "c"), of_task("question", "q")
    rows = {"train": captions | questions, "test": captions, "valid": {}}
    assert keep_tasks(rows, None) is rows
    for tasks in (["captioning"], "captioning"):
        kept = keep_tasks(rows, tasks)
        assert kept == {"train": captions, "test": captions, "valid": {}}
    # One that is known may have no rows, if another has.
    assert keep_tasks(rows, "captioning,metadata", ["metadata"]) == kept
    with pytest.raises(ValueError, match=r"unknown tasks \['caption'\]"):
        keep_tasks(rows, "captioning,caption")
    with pytest.raises(ValueError, match="tasks of no row of the test data"):
        keep_tasks(rows, ["question"])


def test_validation_is_held_out_by_recording_where_there_is_none(caplog):
    train = rows_of("a", 400, source="youtube:{}:1")
    train |= {f"{key}_again": row for key, row in train.items()}
    rows = {"train": dict(train), "valid": {}}
    hold_out_valid(rows, 0.1)
    assert rows["train"].keys() | rows["valid"].keys() == train.keys()
    assert not rows["train"].keys() & rows["valid"].keys()
    assert 0.05 < len(rows["valid"]) / len(train) < 0.2
    split = {key.removesuffix("_again") for key in rows["valid"]}
    assert len(rows["valid"]) == 2 * len(split)
    assert "No corpus has validation rows" in caplog.text
    backwards = {"train": dict(reversed(train.items())), "valid": {}}
    hold_out_valid(backwards, 0.1)
    assert backwards["valid"] == rows["valid"]

    given = {"train": dict(train), "valid": {"a/1": train["a/1"]}}
    hold_out_valid(given, 0.1)
    assert (len(given["train"]), len(given["valid"])) == (800, 1)
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match=f"valid_share={share:g} of the 800"):
            hold_out_valid({"train": dict(train), "valid": {}}, share)


def test_a_recording_without_source_is_known_by_its_files_name():
    assert recordings_of({"wav": "/here/a.wav"}) == recordings_of({"wav": "/b/a.wav"})


def test_rows_that_share_any_source_stay_on_one_side():
    train = rows_of("a", 200, source="clotho:{0} freesound:{0}")
    train |= rows_of("b", 200, source="freesound:{}")
    rows = {"train": dict(train), "valid": {}}
    hold_out_valid(rows, 0.3)
    sides = {"train": set(), "valid": set()}
    for split, numbers in sides.items():
        numbers |= {row_id.split("/")[1] for row_id in rows[split]}
    assert sides["valid"]
    assert not sides["train"] & sides["valid"]
