"""The recipes as SpeechBrain lists its own: a table per data set, a debug run a line.

The columns, and the grammar of ``test_debug_checks``, are those of SpeechBrain's
``tests/recipes/*.csv``; its own checks of them are in its repository's ``tests/``,
which its packages leave out, so they are written anew here from its documentation.
"""

import csv
import re
import shlex
from pathlib import Path

import pytest

from tests.recipes.conftest import FIELDS, read_tables, recipe_main, write_tones

ROOT = Path(__file__).resolve().parents[2]

COLUMNS = [
    "Task",
    "Dataset",
    "Script_file",
    "Hparam_file",
    "Data_prep_file",
    "Readme_file",
    "Result_url",
    "HF_repo",
    "test_debug_flags",
    "test_debug_checks",
    "performance",
]

#: YAMLs that no recipe of the tables runs: those that others include, those that
#: evaluate trained models, and the language model's, whose corpora its own test builds.
NOT_LISTED = {
    *("any_training.yaml", "training.yaml"),
    *("benchmark.yaml", "comparison_clap.yaml", "language_model.yaml"),
}


def checks_of(line):
    """Return the files to find, and (log, name of the value, largest, epoch)."""
    checks = line["test_debug_checks"]
    files = re.search(r"file_exists=\[(.*?)\]", checks)[1].split(",")
    log, name, limit, epoch = re.search(r"performance_check=\[(.*?)\]", checks)[
        1
    ].split(",")
    limit = float(limit.strip().removeprefix("<="))
    return files, (log, name.strip(), limit, epoch.strip())


def by_yaml(line):
    return Path(line["Hparam_file"]).stem


def test_every_table_has_speechbrains_columns():
    for path in ROOT.glob("tests/recipes/*.csv"):
        with path.open(newline="") as stream:
            assert next(csv.reader(stream)) == COLUMNS, path.name


def test_every_yaml_of_a_training_is_in_a_table():
    listed = {Path(line["Hparam_file"]).name for line in read_tables()}
    assert listed == {path.name for path in ROOT.glob("hparams/*.yaml")} - NOT_LISTED


@pytest.mark.parametrize("line", read_tables(), ids=by_yaml)
def test_a_line_names_files_that_are_there_and_a_debug_run(line):
    for column in COLUMNS:
        if column.endswith("_file"):
            assert (ROOT / line[column]).is_file(), line[column]
    readme = (ROOT / line["Readme_file"]).read_text()
    for column in ("Result_url", "HF_repo"):
        assert line[column] in readme
    assert line["test_debug_flags"].strip()
    files, (log, _, limit, _) = checks_of(line)
    assert log in files
    assert limit > 0


@pytest.mark.slow
@pytest.mark.parametrize("line", read_tables(), ids=by_yaml)
def test_a_debug_run_writes_its_files_and_its_loss_falls(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # flags name data under tests/tmp
    for task in FIELDS:
        if f"tests/tmp/{task}," in line["test_debug_flags"]:
            folder = tmp_path / "tests" / "tmp" / task
            folder.mkdir(parents=True)
            write_tones(folder, [task])
    out = tmp_path / "out"
    flags = [f"--output_folder={out}", *shlex.split(line["test_debug_flags"])]
    script = ROOT / line["Script_file"]
    main = recipe_main(ROOT, script.parent.name, script.name)
    main([str(ROOT / line["Hparam_file"]), *flags])

    files, (log, name, limit, epoch) = checks_of(line)
    for file in files:
        assert (out / file).stat().st_size > 0
    epochs = [text for text in (out / log).read_text().splitlines() if name in text]
    losses = [float(re.search(rf"{name}: ([\d.e+-]+)", text)[1]) for text in epochs]
    assert losses[-1] < losses[0], losses
    (last,) = (loss for loss, text in zip(losses, epochs) if f"{epoch}," in text)
    assert last <= limit, losses
