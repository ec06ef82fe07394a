"""The benchmark's command on sets of tones, with a model that knows them."""

import csv
import importlib.util
import inspect
import json
import math
from types import SimpleNamespace

import pytest
import soundfile
import torch
from hyperpyyaml import load_hyperpyyaml

RATE = 8000
TONES = {500: "dog", 1500: "church bells"}


class ToneModel:
    """Says the name of the louder tone; texts are alike if they begin alike."""

    hparams = SimpleNamespace(sample_rate=RATE)
    n_asked = 0

    def load_clip(self, path):
        return torch.from_numpy(soundfile.read(path, dtype="float32")[0])

    def generate_files(self, paths, prompts, batch_size, **search):
        type(self).n_asked += len(paths)
        power = [torch.fft.rfft(self.load_clip(path)).abs() for path in paths]
        return [
            TONES[500]
            if p[: len(p) // 4].sum() > p[len(p) // 4 :].sum()
            else TONES[1500]
            for p in power
        ]

    def embed_texts(self, texts, projected=False):
        codes = torch.tensor([ord(text[0]) - 96 for text in texts])
        return torch.nn.functional.one_hot(codes, 27).float()


@pytest.fixture(scope="module")
def recipe(root):
    path = root / "recipes" / "benchmark" / "evaluate.py"
    spec = importlib.util.spec_from_file_location("benchmark_evaluate", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def command(recipe, tmp_path, monkeypatch):
    """Return a function: names of sets -> the lines of the table."""
    rows = {}
    for number, (hertz, label) in enumerate([*TONES.items()] * 2):
        path = tmp_path / f"{number}.wav"
        time = torch.arange(RATE // 4) / RATE
        soundfile.write(path, torch.sin(2 * math.pi * hertz * time).numpy(), RATE)
        clip = {"wav": str(path), "duration": 0.25, "labels": [label]}
        rows[f"{number}_events"] = {**clip, "task": "sound_events"}
        for place, caption in enumerate((f"a {label}", label)):
            rows[f"{number}_caption_{place}"] = {
                **clip,
                "task": "captioning",
                "caption": caption,
            }
    rows["3_events"]["labels"] = ["dog"]  # wrong on purpose
    (tmp_path / "tones").mkdir()
    (tmp_path / "tones" / "test.json").write_text(json.dumps(rows))
    hparams = tmp_path / "benchmark.yaml"
    hparams.write_text(
        f"""
output_folder: {tmp_path}/out
batch_size: 3
search: {{beam_size: 1}}
sets:
    tones:
        title: Tones
        protocol: !name:pengi_plugin.protocols.close_ended.single_label
            classes: [dog, church_bells]
            ways: [similarity]
        manifests: [{tmp_path}/tones/test.json]
        where: {{task: sound_events}}
        fields: {{label: labels}}
        published:
            - {{metric: accuracy, value: 0.9, by: Pengi, verified: True}}
            - {{metric: accuracy, value: 0.8, by: CLAP, verified: False}}
        get: Make them.
    captions:
        title: Captions of tones
        protocol: !name:pengi_plugin.protocols.captioning.captioning
            names: [rouge_l, spice]
        manifests: [{tmp_path}/tones/test.json]
        where: {{task: captioning}}
        fields: {{references: caption}}
        get: Make them.
    absent:
        title: Nowhere
        protocol: !name:pengi_plugin.protocols.questions.question_answering
        manifests: [{tmp_path}/nowhere/test.json]
        fields: {{references: answer}}
        get: Ask its authors.
"""
    )
    monkeypatch.setattr(
        recipe.AudioLanguageModel, "from_hparams", lambda **kwargs: ToneModel()
    )

    def run(*tasks):
        flags = ["--model", "tones/model", "--tasks", *tasks]
        return recipe.main([str(hparams), *flags, "--device", "cpu"])

    return run


def test_a_score_stands_beside_the_published_one_with_its_prompt(command, tmp_path):
    line = command("tones")[0]
    assert line["score"] == 3 / 4
    assert line["n_clips"] == 4
    assert line["low"] <= 3 / 4 <= line["high"]
    assert line["protocol"] == "this is a sound of"
    assert line["published"] == 0.9
    assert line["published_by"] == "Pengi; 0.8000 CLAP (unverified)"
    folder = tmp_path / "out" / "tones--model"
    with open(folder / "table.csv") as file:
        assert next(csv.DictReader(file))["score"] == "0.75"
    assert "| 0.7500 |" in (folder / "table.md").read_text()
    assert json.loads((folder / "table.json").read_text())[0] == line


def test_captions_of_one_clip_are_its_references(command):
    rouge, spice = command("captions")
    assert rouge["n_clips"] == 4
    assert rouge["score"] == 1.0  # each clip's second caption is what the model says
    assert spice["score"] is None
    assert spice["note"].startswith("needs")


def test_a_set_without_data_says_how_to_get_them(command):
    (line,) = command("absent")
    assert line["score"] is None
    assert "nowhere/test.json is absent. Ask its authors." in line["note"]


def test_a_second_run_asks_nothing_and_keeps_other_lines(command, tmp_path):
    command("tones")
    asked = ToneModel.n_asked
    command("captions", "tones")
    assert ToneModel.n_asked == asked + 4
    command("absent")
    table = json.loads((tmp_path / "out" / "tones--model" / "table.json").read_text())
    assert [line["task"] for line in table] == [
        *["captions"] * 2,
        *["tones"] * 2,
        "absent",
    ]


def test_an_unknown_set_is_an_error(command):
    with pytest.raises(ValueError, match=r"\['noise'\]; hparams list tones, captions"):
        command("noise")


def test_a_field_that_the_manifest_lacks_is_named(recipe):
    spec = {"title": "Tones", "fields": {"label": "genre"}, "prompt": "what?"}
    with pytest.raises(ValueError, match="Tones: row 'a' has no 'genre'"):
        recipe.make_row("a", {"wav": "a.wav", "task": "captioning"}, spec)


def test_every_set_of_the_benchmark_is_whole(root):
    with open(root / "hparams" / "benchmark.yaml", encoding="utf-8") as file:
        hparams = load_hyperpyyaml(file)
    needs = {
        "single_label": {"label"},
        "multi_label": {"labels"},
        "captioning": {"references"},
        "question_answering": {"references"},
        "text_to_audio": {"references"},
        "numbers": {"number"},
        "probes": {"label", "fold"},
    }
    assert len(hparams["sets"]) >= 25
    for name, spec in hparams["sets"].items():
        function = getattr(spec["protocol"], "func", spec["protocol"])
        assert needs[function.__name__] == spec["fields"].keys(), name
        assert spec["get"], name
        if "prepare" in spec:
            signature = inspect.signature(spec["prepare"].func)
            signature.bind(**spec["prepare"].keywords)
        for figure in spec.get("published", ()):
            assert figure["value"] > 0, name
            assert isinstance(figure["verified"], bool), name


def test_esc50_has_its_fifty_classes(root):
    from pengi_plugin.corpora.esc50 import PHRASES

    with open(root / "hparams" / "benchmark.yaml", encoding="utf-8") as file:
        classes = load_hyperpyyaml(file)["esc50_classes"]
    assert classes == sorted(name.replace("_", " ") for name in PHRASES)
