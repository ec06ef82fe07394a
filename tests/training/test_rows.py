"""All corpora of a YAML are prepared, or told; their rows are chosen once."""

import logging
import re
from pathlib import Path

import pytest

from pengi_plugin.data.manifest import concatenate, read_manifest
from pengi_plugin.training import rows as steps
from pengi_plugin.training.identity import check_same_run
from pengi_plugin.training.rows import (
    choose_rows,
    concatenate_splits,
    describe,
    prepare,
    with_shares,
)
from tests.training.small_corpora import fail, rows_of, write


def test_a_run_leaves_out_its_own_tests_and_those_that_it_names(tmp_path, caplog):
    write(tmp_path / "a", "train", rows_of("x", 6, source="freesound:{}"))
    write(tmp_path / "a", "valid", rows_of("x", 1, 100))
    write(tmp_path / "a", "test", rows_of("y", 1, source="freesound:{}"))
    write(tmp_path / "esc50", "train", rows_of("z", 1, 1, source="freesound:{}"))
    write(tmp_path / "m" / "known", "test", rows_of("z", 1, 2, source="freesound:{}"))
    write(tmp_path / "m" / "known", "train", rows_of("z", 9, source="freesound:{}"))
    hparams = {
        "save_folder": str(tmp_path / "save"),
        "corpora": {"a": {"manifest_folder": str(tmp_path / "a")}},
        "known_corpora": {"known": {"folders": ["known"], "prepare": fail}},
        "held_out_corpora": {},
        "held_out": [str(tmp_path / "esc50")],
        "data_root": None,
        "data_folder": str(tmp_path / "m"),
        "keep_overlaps": False,
        "valid_share": 0.01,
        "share_exponent": 0.5,
    }
    with caplog.at_level(logging.INFO):
        rows = prepare(given := {**hparams})
    sources = [row["source"] for row in rows["train"].values()]
    assert sources == ["freesound:3", "freesound:4", "freesound:5"]
    for name in ("a", "esc50", "known"):
        assert re.search(rf"^a +{name} +1$", caplog.text, re.MULTILINE)
    assert re.search(r"^known +not found$", caplog.text, re.MULTILINE)
    assert re.search(r"^a +3 +3 +100\.00 %$", caplog.text, re.MULTILINE)
    assert given["corpora"]["a"]["share"] == 3**0.5

    check_same_run(tmp_path / "run", "rows", describe(rows))
    (tmp_path / "run" / "CKPT+1").mkdir()
    kept = prepare({**hparams, "keep_overlaps": True})
    assert len(kept["train"]) == 6
    with pytest.raises(ValueError, match=r"train rows: '3 .* then, '6 .* now"):
        check_same_run(tmp_path / "run", "rows", describe(kept))


def test_clips_of_weightless_tasks_have_no_part_in_shares_and_table(tmp_path, caplog):
    hparams = {
        "known_corpora": {},
        "task_weights": {"question_answering": 0.0},
        "share_exponent": 1.0,
    }
    write(tmp_path / "a", "train", rows_of("a", 3))
    questions = {
        key: {**row, "task": "question_answering", "question": "?", "answer": "yes"}
        for key, row in rows_of("b", 5).items()
    }
    write(tmp_path / "b", "train", {**questions, **rows_of("c", 1)})
    rows = concatenate(
        read_manifest(tmp_path / name / "train.json", name) for name in "ab"
    )
    corpora = {name: {"manifest_folder": "unused"} for name in "ab"}
    sampled = with_shares({**hparams, "pairs_per_clip": 1}, corpora, rows)
    assert {name: corpus["share"] for name, corpus in sampled.items()} == {
        "a": 3,
        "b": 1,
    }
    assert sampled["b"]["clips"] == sampled["b"]["pairs"] == 1
    whole = with_shares({**hparams, "pairs_per_clip": None}, corpora, rows)
    assert whole["b"]["clips"] == 6


def test_every_source_null_says_what_to_give(tmp_path):
    with pytest.raises(ValueError, match=r"nothing to train on.*\['a'\]"):
        prepare({"corpora": {"a": {"source": None}}, "save_folder": tmp_path})


def fail_in_two_lines(data_folder, manifest_folder):
    """Stand in for a corpus whose table lacks a column."""
    raise ValueError("no column x;\nit has a, b")


def write_all(data_folder, manifest_folder):
    """Prepare a corpus of some clips to train and to validate on."""
    write(Path(manifest_folder), "train", rows_of("t", 3))
    write(Path(manifest_folder), "valid", rows_of("v", 1))


@pytest.fixture
def partly_damaged(tmp_path):
    """Settings of a mixture: one good, two damaged, one absent, one not chosen."""
    for name in ("good", "damaged", "other", "unwanted", "held"):
        (tmp_path / "data" / name).mkdir(parents=True)
    prepares = {"good": write_all, "damaged": fail, "other": fail_in_two_lines}
    prepares |= {"absent": fail, "unwanted": write_all}
    return {
        "save_folder": str(tmp_path / "save"),
        "corpora": "good,damaged,other",
        "known_corpora": {
            name: {"folders": [name], "prepare": function}
            for name, function in prepares.items()
        },
        "held_out_corpora": {},
        "held_out": [],
        "data_root": str(tmp_path / "data"),
        "data_folder": str(tmp_path / "m"),
        "keep_overlaps": False,
        "valid_share": 0.01,
        "share_exponent": 0.5,
    }


TABLE_OF_DAMAGED = (
    "corpus    clips  pairs  share",
    "good      3      3      100.00 %",
    "damaged   failed: no list",
    "other     failed: no column x;",
    "absent    not found",
    "unwanted  not chosen",
)


def test_all_corpora_that_fail_are_told_together_before_training(
    partly_damaged, caplog
):
    caplog.set_level(logging.INFO)
    with pytest.raises(ValueError, match=r"that could not be prepared \(2\)") as error:
        prepare(partly_damaged)
    assert "\n  damaged: no list\n  other: no column x;\nit has a, b" in str(
        error.value
    )
    assert "--skip_failed_corpora True" in str(error.value)
    assert "\n".join(TABLE_OF_DAMAGED) in caplog.text


def test_corpora_that_fail_are_left_out_where_the_yaml_says_so(partly_damaged, caplog):
    caplog.set_level(logging.INFO)
    settings = {**partly_damaged, "skip_failed_corpora": True}
    rows = prepare(settings)
    assert {row["corpus"] for row in rows["train"].values()} == {"good"}
    assert list(settings["corpora"]) == ["good"]
    assert "\n".join(TABLE_OF_DAMAGED) in caplog.text
    assert "damaged, other: left out, as they could not be prepared" in caplog.text
    for corpora in ("damaged", "damaged,other"):  # nothing is left
        with pytest.raises(
            ValueError, match=r"could not be prepared \(\d\):\n  damaged"
        ):
            prepare({**settings, "corpora": corpora})


def test_test_sets_to_hold_out_that_fail_stop_the_training_too(partly_damaged, caplog):
    settings = {**partly_damaged, "corpora": "good"}
    settings["held_out_corpora"] = {"held": {"folders": ["held"], "prepare": fail}}
    with pytest.raises(
        ValueError, match=r"could not be prepared \(1\):\n  held: no list"
    ):
        prepare({**settings})
    assert prepare({**settings, "skip_failed_corpora": True})["train"]
    assert "held: left out, as they could not be prepared" in caplog.text


def test_rows_are_chosen_anew_only_when_manifests_or_options_change(
    tmp_path, monkeypatch
):
    calls = []
    hparams = {"save_folder": str(tmp_path / "save"), "valid_share": 0.3}

    def leave_out(*arguments):
        calls.append(arguments)
        return original(*arguments)

    original = steps.leave_out_test_clips
    monkeypatch.setattr(steps, "leave_out_test_clips", leave_out)

    def choose(**options):
        nothing = concatenate([])
        splits = {"train": read_manifest(tmp_path / "m" / "train.json", "m")}
        rows = concatenate_splits([splits | {"valid": nothing, "test": nothing}])
        sets = [("t", read_manifest(tmp_path / "t" / "test.json", "t"))]
        chosen = choose_rows({**hparams, "keep_overlaps": False, **options}, rows, sets)
        return {split: sorted(some) for split, some in chosen.items()}, len(calls)

    source = {"source": "freesound:{}"}
    write(tmp_path / "m", "train", rows_of("m", 40, **source))
    write(tmp_path / "t", "test", rows_of("t", 2, **source))
    first, n_call = choose()
    assert n_call == 1
    assert len(first["train"]) + len(first["valid"]) == 38
    assert first["valid"]
    assert choose() == (first, 1)
    kept, n_call = choose(keep_overlaps=True)
    assert (n_call, len(kept["train"]) + len(kept["valid"])) == (2, 40)
    write(tmp_path / "t", "test", rows_of("t", 3, **source))
    fewer, n_call = choose()
    assert (n_call, len(fewer["train"]) + len(fewer["valid"])) == (3, 37)
    write(tmp_path / "m", "train", rows_of("m", 41, **source))
    assert choose()[1] == 4
    monkeypatch.setattr(steps, "RULES", steps.RULES + 1)  # of what an overlap is
    assert choose()[1] == 5
