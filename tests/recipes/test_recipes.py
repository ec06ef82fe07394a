"""What holds for every recipe of the list in conftest.py."""

import re


def losses(log):
    return [float(loss) for loss in re.findall(r"train loss: ([\d.e+-]+)", log)]


def test_every_recipe_is_listed(root, listed_recipes):
    found = {path.parent.name for path in root.glob("recipes/*/train.py")}
    assert found == listed_recipes


def test_a_recipe_says_how_it_is_run_and_what_it_gives(root, recipe):
    name, yaml = recipe
    command = f"python recipes/{name}/train.py hparams/{yaml}"
    assert command in (root / "recipes" / name / "train.py").read_text()
    assert command in (root / "recipes" / name / "README.md").read_text()
    assert (root / "hparams" / yaml).is_file()


def test_a_recipe_learns_exports_and_scores(recipe, main_of, arguments, tmp_path):
    name, yaml = recipe
    options = {"pairs_per_clip": 1} if name == "comparison" else {}
    command = arguments("out", yaml=yaml, number_of_epochs=3, lr=0.02, **options)
    table = main_of(name)(command)
    # The test has 8 clips, with two different captions.
    assert {line["n"] for line in table} == ({2, 8} if name == "clap" else {8})
    logs = list((tmp_path / "out").rglob("train_log.txt"))
    assert logs
    for log in logs:
        assert losses(log.read_text())[-1] < 0.9 * losses(log.read_text())[0]
        assert (log.parent / "model" / "hyperparams.yaml").is_file()
        scores = log.parent / "test_scores"
        if name == "comparison":  # its runs are scored together
            scores = tmp_path / "out" / "table"
        for form in ("md", "csv", "json"):
            assert scores.with_suffix(f".{form}").stat().st_size > 0
