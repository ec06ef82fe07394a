"""Every entry of the benchmark, from a tiny tree in the official format to its lines.

The trees are those of the tests of the corpora; the model is tiny, its weights random.
"""

import importlib

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT
from tests.corpora.conftest import write_audio  # noqa: F401 (a fixture)
from tests.corpora.trees import EVALUATION
from tests.recipes.small_benchmark import NOTE, make_small
from tests.recipes.test_benchmark import recipe  # noqa: F401 (a fixture)

#: Entries of all files, by the file's name.
SETS = {
    path.stem: list(YAML().load(path)["sets"])
    for path in sorted(ROOT.glob("hparams/benchmark/*.yaml"))
}
#: Corpus -> the fixture that makes its tree, in the module of its tests.
FIXTURES = {
    **dict.fromkeys(SETS, "official"),
    "gtzan": "original",
    "gtzan_music_speech": "original",
}
#: Corpora whose trees are larger here, or that have none.
OWN = {"general_midi", *EVALUATION}

for _corpus in set(SETS) - OWN:
    _module = importlib.import_module(f"tests.corpora.test_{_corpus}")
    globals()[f"{_corpus}_tree"] = getattr(_module, FIXTURES[_corpus])


@pytest.fixture
def tree(request, tmp_path, write_audio):  # noqa: F811
    """Return a function: name of a corpus -> its tree."""

    def make(corpus):
        if corpus in EVALUATION:
            return EVALUATION[corpus](tmp_path, write_audio)
        return request.getfixturevalue(f"{corpus}_tree")

    return make


@pytest.fixture
def evaluate(recipe, tiny_folder, tmp_path, monkeypatch):  # noqa: F811
    """Return a function: sets, options -> the lines of the table."""
    make_small(recipe, monkeypatch)
    yaml = ROOT / "hparams" / "benchmark.yaml"

    def run(sets, templates=NOTE, **options):
        options = {
            "model": tiny_folder,
            "data_folder": tmp_path / "manifests",
            "output_folder": tmp_path / "results",
            "device": "cpu",
            "search": "{beam_size: 1}",
            "templates": templates,
            **options,
        }
        flags = [f"--{key}={value}" for key, value in options.items()]
        return recipe.main([str(yaml), "--tasks", *sets, *flags])

    return run


@pytest.mark.parametrize("corpus", SETS)
def test_every_entry_is_scored_from_the_official_tree(corpus, evaluate, tree, recipe):  # noqa: F811
    options = {}
    if corpus != "general_midi":
        options[f"{corpus}_folder"] = tree(corpus)
    if corpus == "nsynth":
        options["nsynth_form"] = "produced by {label}"
    lines = evaluate(SETS[corpus], **options)
    assert recipe.n_failed(lines) == 0, [line["note"] for line in lines]
    assert {line["set"] for line in lines} == set(SETS[corpus])
    scored = [line for line in lines if line["score"] is not None]
    assert {line["set"] for line in scored} == set(SETS[corpus])
    for line in lines:
        if line["score"] is None:  # a metric that needs Java or a download
            assert line["note"], line
            continue
        assert line["n"] > 0
        if "error" not in line["metric"] and not line["metric"].startswith("CIDEr"):
            assert 0 <= line["score"] <= 1, line
        if line["low"] is not None:
            low, high = line["low"] - 1e-9, line["high"] + 1e-9
            assert low <= line["score"] <= high, line
        if line["set"].endswith("_probe"):
            assert "commonest" not in line
        elif line["metric"] not in ("no option", "accuracy where an option is found"):
            assert line["commonest"] is not None or "absolute error" in line["metric"]


def test_a_model_that_does_not_say_what_is_scored_is_told_so(evaluate, tree):
    lines = evaluate(["nsynth_velocity"], nsynth_folder=tree("nsynth"), templates="{}")
    assert lines[0]["score"] is None
    assert (
        "scores velocity, which answers of music_note do not hold" in (lines[0]["note"])
    )


def test_probes_need_all_the_folds_of_their_set(evaluate, tree):
    folder = tree("urbansound8k")
    path = folder / "metadata" / "UrbanSound8K.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    (line,) = evaluate(["urbansound8k_probe"], urbansound8k_folder=folder)
    assert "is probed over 10 folds; its rows are of 9" in line["note"]


def test_the_held_out_fold_is_the_one_asked_for(evaluate, tree):
    options = {"esc50_folder": tree("esc50"), "esc50_test_fold": 2}
    line = evaluate(["esc50_held_out"], **options)[0]
    assert line["n"] == 16  # of 80 clips in five folds
