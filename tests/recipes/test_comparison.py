"""Captions only against all tasks, on tones."""

import importlib.util

import pytest


@pytest.fixture(scope="module")
def recipe(root):
    path = root / "recipes" / "comparison" / "train.py"
    spec = importlib.util.spec_from_file_location("comparison_train", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_learns_captions_alone_and_both_are_tested_on_them(recipe):
    rows = {
        split: {"c": {"task": "captioning"}, "q": {"task": "question_answering"}}
        for split in ("train", "valid", "test")
    }
    a, b = recipe.rows_of_run(rows, "A"), recipe.rows_of_run(rows, "B")
    assert {split: list(some) for split, some in a.items()} == {
        split: ["c"] for split in rows
    }
    assert {split: list(some) for split, some in b.items()} == {
        "train": ["c", "q"],
        "valid": ["c", "q"],
        "test": ["c"],
    }


@pytest.mark.slow
def test_one_command_trains_both_and_compares_them_on_the_same_captions(
    recipe, arguments, tmp_path
):
    table = recipe.main(arguments("both", number_of_epochs=1))
    groups = [line["group"] for line in table]
    assert list(dict.fromkeys(groups)) == [
        "A: captions only",
        "B: all tasks",
        "difference",
    ]
    by_metric = [
        [
            line
            for line in table
            if line["metric"] == "token F1" and line["group"] == group
        ]
        for group in dict.fromkeys(groups)
    ]
    ((a,), (b,), (gain,)) = by_metric
    assert a["n"] == b["n"] == gain["n"] == 8
    assert gain["score"] == pytest.approx(b["score"] - a["score"])
    assert (tmp_path / "both" / "table.md").exists()
    logs = [(tmp_path / "both" / run / "train_log.txt").read_text() for run in "AB"]
    steps = [log.count("epoch:") for log in logs]
    assert steps[0] == steps[1] > 0
