"""Captions only against all tasks, on tones."""

import importlib.util
import json

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


def write_answers(folder, run, answers):
    """Write (ID, answer, reference) as the main job does."""
    (folder / run).mkdir()
    lines = [
        json.dumps({"id": key, "answer": answer, "references": [reference]}) + "\n"
        for key, answer, reference in answers
    ]
    (folder / run / "test_answers.jsonl").write_text("".join(lines))


def test_the_difference_is_over_the_same_clips(recipe, tmp_path):
    references = ["a dog barks", "rain falls", "bells ring", "a door creaks"]
    captions = ["a dog barks", "a cat", "a cat", "a cat"]
    write_answers(tmp_path, "A", zip("1234", captions, references))
    write_answers(tmp_path, "B", reversed([*zip("1234", references, references)]))
    a, b, gain = recipe.compare(tmp_path)
    assert a["token_f1"][0] == pytest.approx(1 / 4)
    assert b["token_f1"] == (1.0, 1.0, 1.0)
    assert gain["token_f1"][0] == pytest.approx(3 / 4)
    assert gain["token_f1"][1] < 3 / 4 < gain["token_f1"][2] <= 1
    assert "bleu_4" not in gain
    assert "| B - A |  | 4 |" in recipe.as_markdown([a, b, gain])


@pytest.mark.slow
def test_one_command_trains_both_and_prints_both_rows(recipe, arguments, tmp_path):
    table = recipe.main(arguments("both", number_of_epochs=1))
    assert [line["run"] for line in table] == ["A", "B", "B - A"]
    assert (tmp_path / "both" / "table.md").exists()
    logs = [(tmp_path / "both" / run / "train_log.txt").read_text() for run in "AB"]
    steps = [log.count("epoch:") for log in logs]
    assert steps[0] == steps[1] > 0
