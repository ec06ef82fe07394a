"""All corpora of the paper, tiny, in their official formats: trained on and scored."""

import re

import pytest

from pengi_plugin.training.hparams import read_tree
from tests.corpora.conftest import write_tone
from tests.corpora.trees import EVALUATION, TESTING, TRAINING, build_tree
from tests.recipes.conftest import recipe_module
from tests.recipes.small_benchmark import NOTE, make_small


@pytest.mark.slow
def test_all_corpora_are_found_trained_on_and_scored(
    main, root, make_arguments, tmp_path, monkeypatch
):
    trees = build_tree(tmp_path / "data", TRAINING)
    output = tmp_path / "run"
    arguments = make_arguments(
        output,
        yaml="pengi_base.yaml",
        corpora="null",
        data_root=tmp_path / "data",
        data_folder=tmp_path / "m",
        number_of_epochs=1,
        batch_size=1000,
        grad_accumulation_factor=1,
        num_workers=0,
        train_dataloader_opts="{drop_last: False}",
        tasks=NOTE,
    )
    main(arguments)
    log = (output / "log.txt").read_text()
    for name in TRAINING:
        assert re.search(rf"^{name} +\d+ +\d+ +\d+\.\d+ %$", log, re.MULTILINE), name
    assert re.search(r"^clips +not found$", log, re.MULTILINE)
    # A clip of the BBC is in both as they are built, and no other in two corpora.
    assert "1 of 53 training rows hold recordings of test sets and are left out" in log
    assert re.search(r"^wavcaps +sounddescs +1$", log, re.MULTILINE)
    assert re.search(r"train loss: \d", (output / "train_log.txt").read_text())

    trees |= build_tree(tmp_path / "tests", TESTING)
    for name, build in EVALUATION.items():
        folder = tmp_path / "evaluation" / name
        folder.mkdir(parents=True)
        trees[name] = build(folder, write_tone)
    table = evaluate_all(output / "model", trees, root, tmp_path, monkeypatch)
    entries = entries_of(root)
    assert len(entries) > 40
    assert {line["set"] for line in table} == entries
    # What has no figure needs Java or weights, or is of answers with a number or an
    # option, of which a model that learned for one update gives none.
    unscored = {line["metric"]: line["note"] for line in table if line["score"] is None}
    of_some = ("mean absolute error", "accuracy where an option is found")
    for metric, note in unscored.items():
        assert note.startswith("needs ") or metric in of_some, (metric, note)
    assert {line["set"] for line in table if line["score"] is not None} == entries


def evaluate_all(model, trees, root, tmp_path, monkeypatch):
    """Run evaluate.py on all entries of the benchmark, by one command."""
    recipe = recipe_module(root, "benchmark", "evaluate.py")
    make_small(recipe, monkeypatch)
    yaml = root / "hparams" / "benchmark.yaml"
    options = recipe.read_benchmark(yaml).getvalue()
    folders = {f"{name}_folder": str(path) for name, path in trees.items()}
    # Some corpora are trained on and not evaluated.
    folders = {key: path for key, path in folders.items() if f"\n{key}:" in options}
    given = {
        "model": model,
        "tasks": "all",
        "device": "cpu",
        "templates": NOTE,
        "nsynth_form": "produced by {label}",
        "search": "{beam_size: 1}",
        "data_folder": tmp_path / "m2",
        "output_folder": tmp_path / "scores",
        **folders,
    }
    flags = [str(part) for key, value in given.items() for part in (f"--{key}", value)]
    table = recipe.main([str(yaml), *flags])
    assert recipe.n_failed(table) == 0, [line["note"] for line in table]
    return table


def entries_of(root):
    """Return the names of the entries of all files of the benchmark."""
    files = sorted((root / "hparams" / "benchmark").glob("*.yaml"))
    return {name for path in files for name in read_tree(path)["sets"]}
