"""All corpora of the paper, tiny, in their official formats: trained on and scored."""

import re

import pytest

from tests.corpora.trees import TESTING, TRAINING, build_tree
from tests.recipes.conftest import recipe_main

#: Sets of the benchmark that need what is not built here: hours, or other folders.
OTHERS = ("general_midi", "mmar", "muchomusic", "air_bench")
#: Notes do not hold the first two; trees have fewer folds than the probe asks for.
WITHOUT_ROWS = {"nsynth_qualities", "nsynth_velocity", "urbansound8k_probe"}


@pytest.mark.slow
def test_all_corpora_are_found_trained_on_and_scored(
    main, root, make_arguments, tmp_path
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
    yaml = root / "hparams" / "benchmark.yaml"
    benchmark = "\n".join(
        path.read_text() for path in yaml.with_suffix("").glob("*.yaml")
    )
    given = {f"{name}_folder": str(path) for name, path in trees.items()}
    flags = [
        part
        for key, value in given.items()
        if re.search(rf"^{key}:", benchmark, re.MULTILINE)
        for part in (f"--{key}", value)
    ]
    table = recipe_main(root, "benchmark", "evaluate.py")(
        [
            str(yaml),
            *("--model", str(output / "model"), "--device=cpu", *flags),
            *("--data_folder", str(tmp_path / "m2")),
            *("--output_folder", str(tmp_path / "scores")),
            *("--tasks", *scored_sets(root)),
        ]
    )
    assert {line["set"] for line in table} == set(scored_sets(root))
    unscored = ("failed", "no data")
    failed = [line for line in table if (line["note"] or "").startswith(unscored)]
    assert failed == []


def scored_sets(root):
    """Return the sets of the benchmark whose data are built here."""
    from pengi_plugin.training.hparams import read_tree

    names = []
    for path in sorted((root / "hparams" / "benchmark").glob("*.yaml")):
        if path.stem not in OTHERS:
            names += read_tree(path)["sets"]
    return [name for name in names if name not in WITHOUT_ROWS]
