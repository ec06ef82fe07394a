"""The benchmark's command on sets of tones, with a model that knows them."""

import csv
import importlib.util
import inspect
import json
import re
import shutil
from functools import partial

import pytest
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML

from pengi_plugin.data.manifest import is_prepared, write_manifests
from pengi_plugin.training.hparams import read_hparams
from tests.tone_model import ToneModel, write_tone

TONES = {500: "dog", 1500: "church bells"}

HPARAMS = """
output_folder: {folder}/out
data_folder: {folder}
batch_size: 3
search: {{beam_size: 1}}
tasks: {{}}
sets:
    tones:
        title: Tones
        protocol: !name:pengi_plugin.protocols.close_ended.single_label
            classes: [dog, church_bells]
            ways: [similarity]
        manifests: [!ref <data_folder>/tones/test.json]
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
        manifests: [!ref <data_folder>/tones/test.json]
        where: {{task: captioning}}
        fields: {{references: caption}}
        get: Make them.
    absent:
        title: Nowhere
        protocol: !name:pengi_plugin.protocols.questions.question_answering
        manifests: [!ref <data_folder>/nowhere/test.json]
        fields: {{references: answer}}
        get: Ask its authors.
"""

#: A file of the folder beside: a task of the user's own, a setting, a preparation.
BIRDS = """
birds_folder: null
prepare_birds: !name:builtins.open
    file: !ref <birds_folder>
sets:
    birds:
        title: Birds
        protocol: !name:pengi_plugin.protocols.questions.question_answering
        prepare: !ref <prepare_birds>
        source: !ref <birds_folder>
        manifests: [!ref <data_folder>/birds/test.json]
        fields: {references: bird}
        get: Give --birds_folder.
"""


@pytest.fixture(scope="module")
def recipe(root):
    path = root / "recipes" / "benchmark" / "evaluate.py"
    spec = importlib.util.spec_from_file_location("benchmark_evaluate", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def model(recipe, monkeypatch):
    model = ToneModel(TONES)

    def load(source, trust, run_opts):
        model.precision = run_opts["precision"]
        return model

    monkeypatch.setattr(recipe.AudioLanguageModel, "from_hparams", load)
    monkeypatch.setattr(recipe, "find_model", lambda name: name)
    monkeypatch.setattr(recipe, "fingerprint", lambda source, without=(): str(source))
    return model


@pytest.fixture
def command(recipe, model, tmp_path):
    """Return a function: names of sets, options -> the lines of the table."""
    rows = {}
    for number, (hertz, label) in enumerate([*TONES.items()] * 2):
        path = tmp_path / f"{number}.wav"
        write_tone(path, hertz)
        clip = {"wav": str(path), "duration": 0.25, "labels": [label]}
        rows[f"{number}_events"] = {**clip, "task": "sound_events"}
        for index, caption in enumerate((f"a {label}", label)):
            rows[f"{number}_caption_{index}"] = {
                **clip,
                "task": "captioning",
                "caption": caption,
            }
    rows["3_events"]["labels"] = ["dog"]  # wrong on purpose
    (tmp_path / "tones").mkdir()
    (tmp_path / "tones" / "test.json").write_text(json.dumps(rows))
    (tmp_path / "benchmark.yaml").write_text(HPARAMS.format(folder=tmp_path))

    def run(*names, **options):
        flags = ["--tasks", *names] if names else []
        for key, value in options.items():
            flags += [f"--{key}", value]
        hparams = str(tmp_path / "benchmark.yaml")
        return recipe.main([hparams, "--model=tones/model", *flags, "--device=cpu"])

    return run


@pytest.fixture
def templates(command, tmp_path):
    """Return a function that gives the YAML templates of the user's own."""

    def write(text):
        path = tmp_path / "benchmark.yaml"
        path.write_text(path.read_text().replace("tasks: {}", f"tasks: {text}"))

    return write


@pytest.fixture
def birds(tmp_path):
    """Add a corpus of a single file in the benchmark's folder; return its row."""
    (tmp_path / "benchmark").mkdir()
    (tmp_path / "benchmark" / "birds.yaml").write_text(BIRDS)
    (tmp_path / "birds").mkdir()
    row = {"wav": str(tmp_path / "0.wav"), "duration": 0.25}
    row |= {"task": "bird", "bird": "dog", "place": "the zoo"}
    (tmp_path / "birds" / "test.json").write_text(json.dumps({"one": row}))
    return row


def table(tmp_path):
    return json.loads((tmp_path / "out" / "tones--model" / "table.json").read_text())


def test_a_score_stands_beside_the_published_one_with_its_prompt(command, tmp_path):
    line = command("tones")[0]
    assert line["score"] == 3 / 4
    assert line["n"] == 4
    assert line["low"] <= 3 / 4 <= line["high"]
    assert line["prompt"] == "this is a sound of"
    assert line["published"] == 0.9
    assert line["published_by"] == "Pengi; 0.8000 CLAP (unverified)"
    folder = tmp_path / "out" / "tones--model"
    with open(folder / "table.csv") as file:
        assert next(csv.DictReader(file))["score"] == "0.75"
    assert "| 0.7500 |" in (folder / "table.md").read_text()
    assert table(tmp_path)[0] == line


@pytest.mark.parametrize("flags", [[], ["--trust"]])
def test_a_folder_with_a_class_of_its_own_is_loaded_where_it_is_trusted(
    recipe, command, tiny_folder, tmp_path, monkeypatch, flags
):
    # As the fixtures left it, the recipe loads a double: here it loads a folder.
    monkeypatch.undo()
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    (tmp_path / "benchmark.yaml").write_text(HPARAMS.format(folder=tmp_path))
    with open(folder / "hyperparams.yaml", "a") as file:
        file.write("own: !new:collections.OrderedDict\n")
    hparams = str(tmp_path / "benchmark.yaml")
    words = [hparams, f"--model={folder}", "--tasks", "absent", "--device=cpu"]
    if not flags:
        with pytest.raises(ValueError, match=r"collections\.OrderedDict"):
            recipe.main(words)
        return
    (line,) = recipe.main([*words, *flags])
    assert "is absent" in line["note"]


def test_captions_of_one_clip_are_its_references(command):
    rouge, spice = command("captions")
    assert rouge["n"] == 4
    assert rouge["score"] == 1.0  # each clip's second caption is what the model says
    assert spice["score"] is None
    assert spice["note"].startswith("needs")


def test_a_set_without_data_says_how_to_get_them(command):
    (line,) = command("absent")
    assert line["score"] is None
    assert "nowhere/test.json is absent. Ask its authors." in line["note"]


def test_a_second_run_asks_nothing_and_keeps_other_lines(command, model, tmp_path):
    command("tones")
    asked = len(model.prompts)
    command("captions", "tones")
    assert len(model.prompts) == asked + 4
    command("absent")
    assert [line["set"] for line in table(tmp_path)] == [
        *["captions"] * 2,
        *["tones"] * 2,
        "absent",
    ]


def test_another_search_asks_again(command, model):
    command("tones")
    asked = len(model.prompts)
    command("tones", search="{beam_size: 2}")
    assert len(model.prompts) == 2 * asked


def test_a_table_says_of_each_line_how_the_model_was_asked(command, tmp_path):
    command("tones", search="{beam_size: 2}")
    command("captions", precision="bf16")
    assert {line["set"]: line["settings"] for line in table(tmp_path)} == {
        "tones": "beam_size=2",
        "captions": "beam_size=1, precision=bf16",
    }
    text = (tmp_path / "out" / "tones--model" / "table.md").read_text()
    assert "| beam_size=1, precision=bf16 |" in text


def test_the_precision_asked_for_is_the_models_and_asks_again(command, model):
    command("tones")
    asked = len(model.prompts)
    assert model.precision == "fp32"
    command("tones", precision="fp16")
    assert model.precision == "fp16"
    assert len(model.prompts) == 2 * asked


def test_manifests_that_were_made_with_other_settings_are_refused(
    command, birds, templates, tmp_path
):
    templates("{bird: {prompt: 'who sings?', answer: '{bird}'}}")
    path = tmp_path / "benchmark" / "birds.yaml"
    text = BIRDS.replace("file: !ref <birds_folder>", "test_fold: 4")
    prepare = "pengi_plugin.corpora.esc50.prepare_esc50"
    path.write_text(text.replace("builtins.open", prepare))
    record = tmp_path / "birds" / "prepared.json"
    record.write_text(
        json.dumps({"data_root": str(tmp_path), "arguments": {"test_fold": 4}})
    )
    assert command("birds")[0]["score"] == 1.0
    record.write_text(
        json.dumps({"data_root": str(tmp_path), "arguments": {"test_fold": 2}})
    )
    (line,) = command("birds")
    assert line["score"] is None
    assert "was prepared with test_fold=2, not 4" in line["note"]


def test_without_a_choice_all_sets_are_scored(command):
    assert {line["set"] for line in command()} == {"tones", "captions", "absent"}


def test_a_set_that_fails_stops_no_other_and_says_why(command, recipe, tmp_path):
    (tmp_path / "2.wav").write_bytes(b"no audio")
    for number in (0, 1, 3):
        (tmp_path / f"{number}.wav").unlink()
    lines = command("tones", "absent")
    assert [line["set"] for line in lines] == ["tones", "absent"]
    assert lines[0]["score"] is None
    assert lines[0]["note"].startswith("failed: RuntimeError: answers: none of 4 rows")
    assert "0.wav" in lines[0]["note"]
    assert table(tmp_path) == lines
    assert recipe.n_failed(lines) == 1
    assert recipe.n_failed(lines[1:]) == 0  # no data is no failure


def test_a_file_that_cannot_be_read_is_a_wrong_answer_and_counted(command, tmp_path):
    (tmp_path / "2.wav").write_bytes(b"no audio")
    accuracy, _ = command("tones")
    assert accuracy["score"] == 2 / 4  # the third of four was right, the last is wrong
    assert accuracy["note"].startswith("1 unreadable, counted as wrong")


def test_controls_stand_beside_a_score_and_cost_no_question(command, model):
    accuracy, macro = command("tones")
    # dog, bells, dog and dog are right: always dog is right in three quarters.
    assert accuracy["commonest"] == 3 / 4
    assert macro["commonest"] == 1 / 2
    assert 0 <= accuracy["shuffled"] <= 1
    assert len(model.prompts) == 4


def test_a_corpus_is_one_file_with_the_users_own_task(command, birds, templates, model):
    templates("{bird: {prompt: 'which bird sings in {place}?', answer: '{bird}'}}")
    line = command("birds")[0]
    assert line["score"] == 1.0
    assert line["prompt"] == "which bird sings in {place}?"
    assert model.prompts == ["which bird sings in the zoo?"]


def test_the_prompt_of_a_paper_task_is_that_of_the_yaml(command, templates, model):
    templates("{sound_events: {prompt: 'what sounds?', answer: '{labels}'}}")
    assert command("tones")[0]["prompt"] == "what sounds?"
    assert set(model.prompts) == {"what sounds?"}


def test_a_task_without_template_is_named(command, birds):
    (line,) = command("birds")
    assert "Birds: row 'birds/one' has no 'bird', which its prompt or" in line["note"]


def test_a_setting_of_a_corpus_file_is_given_on_the_command_line(
    command, birds, tmp_path
):
    shutil.rmtree(tmp_path / "birds")
    (line,) = command("birds")
    assert line["note"].endswith("birds/test.json is absent. Give --birds_folder.")
    (line,) = command("birds", birds_folder=str(tmp_path / "no_such_folder"))
    assert "its preparation failed with FileNotFoundError" in line["note"]
    with pytest.raises(KeyError, match="cats_folder"):
        command("birds", cats_folder="somewhere")


def test_a_key_in_two_files_is_an_error(command, birds, tmp_path):
    (tmp_path / "benchmark" / "tones.yaml").write_text("sets: {tones: {}}")
    with pytest.raises(ValueError, match=r"tones.yaml: \['tones'\] stand in another"):
        command("birds")


def test_an_unknown_set_is_an_error(command):
    with pytest.raises(ValueError, match=r"\['noise'\]; hparams list tones, captions"):
        command("noise")


@pytest.fixture(scope="module")
def benchmark(recipe, root):
    return load_hyperpyyaml(
        recipe.read_benchmark(root / "hparams" / "benchmark.yaml"), {}
    )


def test_every_set_of_the_benchmark_is_whole(benchmark):
    needs = {
        "single_label": {"label"},
        "multi_label": {"labels"},
        "captioning": {"references"},
        "question_answering": {"references"},
        "text_to_audio": {"references"},
        "numbers": {"number"},
        "multiple_choice": {"choices", "answer", "kind"},
        "probes": {"label", "fold"},
    }
    assert len(benchmark["sets"]) >= 30
    for name, entry in benchmark["sets"].items():
        function = getattr(entry["protocol"], "func", entry["protocol"])
        options = getattr(entry["protocol"], "keywords", {})
        inspect.signature(function).bind(None, [], **options)
        assert needs[function.__name__] == entry["fields"].keys(), name
        assert entry["get"], name
        signature = inspect.signature(entry["prepare"].func)
        signature.bind(**entry["prepare"].keywords)
        if entry["published"] == "none confirmed":
            continue
        for figure in entry["published"]:
            assert figure["value"] > 0, name
            assert isinstance(figure["verified"], bool), name


def test_each_file_of_the_benchmark_is_of_one_corpus(root):
    for path in sorted(root.glob("hparams/benchmark/*.yaml")):
        names = list(YAML().load(path)["sets"])
        assert names, path.name
        assert all(name.startswith(path.stem) for name in names), path.name


def test_esc50_has_its_fifty_classes(benchmark):
    for name in ("esc50", "esc50_held_out", "esc50_probe"):
        classes = benchmark["sets"][name]["protocol"].keywords["classes"]
        assert len(set(classes)) == 50
        assert {"airplane", "door wood knock", "wind"} <= {*classes}
        assert classes == sorted(classes)


def test_the_benchmark_renders_the_clips_of_the_main_job(benchmark, root, tmp_path):
    sizes = {"n_train", "n_valid", "n_test"}
    overrides = {"output_folder": str(tmp_path), "model": "!include:model/tiny.yaml"}
    overrides = "\n".join(f"{key}: {value}" for key, value in overrides.items())
    text = read_hparams(root / "hparams" / "pengi.yaml")
    corpus = load_hyperpyyaml(text, overrides)["corpora"]["general_midi"]
    clips = []
    for prepare in (
        corpus["prepare"],
        benchmark["sets"]["general_midi_notes"]["prepare"],
    ):
        call = inspect.signature(prepare.func).bind(**prepare.keywords)
        call.apply_defaults()
        clips.append({key: call.arguments[key] for key in sizes})
    assert clips[0] == clips[1]
    # Neither can differ: no number stands in either YAML.
    for path in ("pengi.yaml", "benchmark/general_midi.yaml"):
        text = (root / "hparams" / path).read_text()
        assert not re.search(r"n_(train|valid|test): *\d", text), path


def test_a_csv_manifest_takes_the_place_of_a_json_one(command, tmp_path):
    before = command("tones")
    path = tmp_path / "tones" / "test.json"
    rows = json.loads(path.read_text())
    with path.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ID", "wav", "duration", "task", "labels", "caption"])
        for key, row in rows.items():
            words = ",".join(row["labels"]), row.get("caption", "")
            writer.writerow([key, row["wav"], row["duration"], row["task"], *words])
    path.unlink()
    assert command("tones") == before


@pytest.fixture
def folds(recipe, tmp_path):
    """Return a function: options -> what ``prepare_set`` did, of a corpus in folds."""

    def prepare_folds(data_folder, manifest_folder, test_fold):
        if is_prepared(manifest_folder, {"test_fold": test_fold}):
            return
        row = {"wav": "{data_root}/a.wav", "fold": test_fold}
        splits = {split: {"1": row} for split in ("train", "valid", "test")}
        write_manifests(manifest_folder, splits, tmp_path, {"test_fold": test_fold}, {})

    (tmp_path / "a.wav").write_text("a sound")

    def prepare(source, test_fold):
        manifests = tmp_path / "m"
        prepare = partial(
            prepare_folds,
            data_folder=source,
            manifest_folder=manifests,
            test_fold=test_fold,
        )
        entry = {"prepare": prepare, "source": source}
        absent = recipe.prepare_set({**entry, "manifests": [manifests / "test.json"]})
        assert absent == []
        return json.loads((manifests / "test.json").read_text())["1"]["fold"]

    return prepare


def test_another_fold_is_prepared_although_there_are_manifests(folds):
    assert folds("data", 4) == 4
    assert folds("data", 2) == 2


def test_another_fold_that_cannot_be_prepared_is_refused(folds):
    folds("data", 4)
    assert folds(None, 4) == 4
    with pytest.raises(ValueError, match="was prepared with test_fold=4, not 2"):
        folds(None, 2)
