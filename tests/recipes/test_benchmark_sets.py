"""Every entry of the benchmark, from a tiny tree in the official format to its lines.

The trees are those of the tests of the corpora; the model is tiny, its weights random.
"""

import csv
import importlib
import json
from functools import partial

import pytest
from ruamel.yaml import YAML

from pengi_plugin.corpora.air_bench import SOUND
from pengi_plugin.corpora.muchomusic import OPTIONS
from pengi_plugin.corpora.urbansound8k import CLASSES as URBAN_CLASSES
from pengi_plugin.protocols import probe_training
from tests.conftest import ROOT
from tests.corpora import test_clotho, test_nsynth
from tests.corpora.conftest import write_audio  # noqa: F401 (a fixture)
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
#: Corpora whose trees are made here: larger ones, or none there.
OWN = {"air_bench", "general_midi", "mmar", "mmau", "muchomusic", "urbansound8k"}

#: The template of a model that says all of a note; see corpora/nsynth.py.
NOTE = """{music_note: {prompt: this music note is, answer: "produced by {instrument}, \
pitch {pitch}, velocity {velocity}, source {source_kind}, and having qualities like \
{qualities_or_none}"}}"""

for _corpus in set(SETS) - OWN:
    _module = importlib.import_module(f"tests.corpora.test_{_corpus}")
    globals()[f"{_corpus}_tree"] = getattr(_module, FIXTURES[_corpus])


@pytest.fixture
def urbansound8k_tree(tmp_path, write_audio):  # noqa: F811
    folder = tmp_path / "UrbanSound8K"
    lines = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    for fold in range(1, 11):
        name = f"{fold}-{fold - 1}-0-0.wav"
        label = URBAN_CLASSES[fold - 1].replace(" ", "_")
        lines.append(f"{name},{fold},0,1,1,{fold},{fold - 1},{label}")
        write_audio(folder / "audio" / f"fold{fold}" / name)
    (folder / "metadata").mkdir()
    (folder / "metadata" / "UrbanSound8K.csv").write_text("\n".join(lines) + "\n")
    return folder


ITEM = {"question": "Who?", "choices": ["Man", "Cat, old"], "answer": "Man"}


@pytest.fixture
def mmau_tree(tmp_path, write_audio):  # noqa: F811
    folder = tmp_path / "MMAU"
    paths = [f"./test-mini-audios/{name}.wav" for name in "ab"]
    items = [{**ITEM, "id": p[-5], "audio_id": p, "task": "sound"} for p in paths]
    for path in paths:
        write_audio(folder / path)
    (folder / "mmau-test-mini.json").write_text(json.dumps(items))
    return folder


@pytest.fixture
def mmar_tree(tmp_path, write_audio):  # noqa: F811
    folder = tmp_path / "MMAR"
    paths = [f"./audio/qx8hrhBZJ9{name}_00-01-32_00-02-02.wav" for name in "ab"]
    items = [
        {**ITEM, "id": p[8:-4], "audio_path": p, "modality": "music"} for p in paths
    ]
    for item in items:
        item |= {"category": "Layer", "sub-category": "Knowledge", "source": "youtube"}
    for path in paths:
        write_audio(folder / path)
    (folder / "MMAR-meta.json").write_text(json.dumps(items))
    return folder


@pytest.fixture
def muchomusic_tree(tmp_path, write_audio):  # noqa: F811
    folder = tmp_path / "muchomusic"
    head = ["question", *OPTIONS, "dataset", "dataset_identifier"]
    head += ["genre", "music_knowledge", "music_reasoning"]
    options = ["right, one", "w1", "w2", "w3"]
    names = ("415600", "415601")
    lines = [
        ["Q?", *options, "sdd", f"{n}.json", "[]", "['tempo']", "[]"] for n in names
    ]
    for name in names:
        write_audio(folder / "data" / "sdd" / "audio" / "00" / f"{name}.2min.wav")
    with (folder / "data" / "muchomusic.csv").open("w", newline="") as file:
        csv.writer(file).writerows([head, *lines])
    return folder


@pytest.fixture
def air_bench_tree(tmp_path, write_audio):  # noqa: F811
    folder = tmp_path / "AIR-Bench"
    items = []
    for number, name in enumerate(SOUND):
        task, _, dataset = name.rpartition("_")
        choices = {"choice_a": "yes", "choice_b": "no", "answer_gt": "no"}
        item = {"path": "a.wav", "question": "Q?", **choices, "uniq_id": number}
        items.append({**item, "task_name": task, "dataset_name": dataset})
        ending = "flac" if "Grounding" in name else "wav"
        write_audio(folder / "Foundation" / name / f"a.{ending}")
    (folder / "Foundation" / "Foundation_meta.json").write_text(json.dumps(items))
    return folder


@pytest.fixture
def tree(request, write_audio):  # noqa: F811
    """Return a function: name of a corpus -> its tree."""

    def make(corpus):
        folder = request.getfixturevalue(f"{corpus}_tree")
        if corpus == "clotho":  # captions are scored of two clips or more
            names = ("a, b (1).wav", "c.wav")
            path = folder / "clotho_captions_evaluation.csv"
            path.write_text(test_clotho.table(*names), newline="")
            write_audio(folder / "evaluation" / "c.wav")
        if corpus == "nsynth":  # qualities are scored where a note has one
            note = test_nsynth.note("vocal_1-060-050", "vocal", "a", 60, 50, ["dark"])
            test_nsynth.write_notes(folder, "test", test_nsynth.REED, note)
            path = folder / "nsynth-test" / "audio" / "vocal_1-060-050.wav"
            write_audio(path, 4.0, 800)
        return folder

    return make


@pytest.fixture
def evaluate(recipe, tiny_folder, tmp_path, monkeypatch):  # noqa: F811
    """Return a function: sets, options -> the lines of the table."""
    monkeypatch.setattr(probe_training, "N_EPOCHS", 1)
    monkeypatch.setattr(probe_training, "N_STEPS", 2)
    load = recipe.load_hyperpyyaml

    def load_small(*arguments):
        hparams = load(*arguments)
        for name in SETS["general_midi"]:  # 3000 clips take minutes
            entry = hparams["sets"][name]
            sizes = {"n_train": 12, "n_valid": 4, "n_test": 24}
            entry["prepare"] = partial(entry["prepare"], **sizes)
        return hparams

    monkeypatch.setattr(recipe, "load_hyperpyyaml", load_small)
    text = (ROOT / "hparams" / "benchmark.yaml").read_text()
    path = tmp_path / "hparams" / "benchmark.yaml"
    path.parent.mkdir()
    path.with_suffix("").symlink_to(ROOT / "hparams" / "benchmark")

    def run(sets, templates=NOTE, **options):
        path.write_text(text.replace("\ntasks: {}", f"\ntasks: {templates}"))
        options = {
            "model": tiny_folder,
            "data_folder": tmp_path / "manifests",
            "output_folder": tmp_path / "results",
            "device": "cpu",
            "search": "{beam_size: 1}",
            **options,
        }
        flags = [f"--{key}={value}" for key, value in options.items()]
        return recipe.main([str(path), "--tasks", *sets, *flags])

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
