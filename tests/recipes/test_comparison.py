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


@pytest.mark.slow
def test_one_command_trains_all_and_compares_them_on_the_same_captions(
    recipe, arguments, tmp_path
):
    command = arguments("both", number_of_epochs=2, pairs_per_clip=1)
    table = recipe.main([*command, "--seeds", "1", "2"])
    groups = dict.fromkeys(line["group"] for line in table)
    assert list(groups) == [*recipe.RUNS.values(), "B - A", "C - A"]
    a, b, c, b_gain, c_gain = (
        next(x for x in table if (x["group"], x["metric"]) == (group, "token F1"))
        for group in groups
    )
    assert a["n"] == b["n"] == c["n"] == c_gain["n"] == 8
    assert b_gain["score"] == pytest.approx(b["score"] - a["score"])
    assert c_gain["score"] == pytest.approx(c["score"] - a["score"])
    assert (tmp_path / "both" / "table.md").exists()
    # A clip has a caption and a question of weight 2: C needs three times the epochs.
    epochs = {
        name: (tmp_path / "both" / name / "train_log.txt").read_text().count("epoch:")
        for name in ("A_1", "B_1", "C_1", "C_2")
    }
    assert epochs == {"A_1": 2, "B_1": 2, "C_1": 6, "C_2": 6}
    assert [line["note"].split(";")[0] for line in (a, b, c)] == [
        *("2 epochs", "2 epochs", "6 epochs")
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--seeds", "1", "1"], "--seeds: give each once; got 1 1"),
        (["--runs", "A", "B", "A"], "--runs: give each once; got A B A"),
        (["--runs", "A"], "--runs: give two or more to compare; got A"),
    ],
)
def test_what_would_be_counted_twice_or_not_compared_is_refused_before_training(
    recipe, given, message, capsys
):
    with pytest.raises(SystemExit):
        recipe.main(["no such.yaml", *given])
    assert message in capsys.readouterr().err
