"""A model that was pushed is the model that is fetched, and its card is about it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from huggingface_hub import ModelCard, constants

from pengi_plugin.__main__ import main
from pengi_plugin.inference import AudioLanguageModel
from pengi_plugin.pretrained.card import CARD_FILE
from pengi_plugin.protocols.score import Score
from pengi_plugin.protocols.table import score_line, write_table
from pengi_plugin.publishing.card import Facts, publishable_card
from pengi_plugin.storage.fingerprint import fingerprint
from tests.publishing.stand_in_hub import TOKEN, StandInHub

ROOT = Path(__file__).resolve().parents[2]
NAME = "someone/pengi-tiny"


@pytest.fixture(scope="module")
def hub():
    hub = StandInHub()
    yield hub
    hub.shutdown()


@pytest.fixture
def run_folder(tiny_folder, tmp_path):
    """A run with its exported model, its scores, and what nobody should see."""
    folder = tmp_path / "run"
    shutil.copytree(tiny_folder, folder / "model")
    (folder / "save").mkdir()
    (folder / "save" / "secret.txt").write_text("a key")
    (folder / "model" / "notes.txt").write_text("mine alone")
    model = fingerprint(folder / "model", without=[CARD_FILE])
    line = score_line(Score("exact match", 0.75, 0.5, 1.0, 8), group="tones")
    write_table([{**line, "model": model}], folder, "test_scores")
    return folder


@pytest.fixture
def push(hub, monkeypatch, capsys):
    """Return a function: words of ``pengi push`` -> status, output, errors."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # Git LFS instead
    monkeypatch.setenv("HF_TOKEN", TOKEN)

    def call(folder, name, *options):
        words = ["push", folder, name, "--license", "apache-2.0", *options]
        status = main([str(word) for word in words])
        return status, *capsys.readouterr()

    return call


def fetched(hub, folder, token=TOKEN, code=""):
    """Run Python where only the stand-in of the hub can be reached."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(folder / "cache"),
        "HF_TOKEN": token,
        "HF_HUB_OFFLINE": "0",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_what_was_pushed_answers_as_before_and_nothing_else_was_pushed(
    hub, push, run_folder, tmp_path
):
    folder = run_folder / "model"
    status, out, err = push(folder, NAME, "--yes", "--datasets", "general_midi")
    assert status == 0, err
    assert f"{hub.url}/{NAME}/commit/" in out
    assert re.search(r"notes\.txt\s+is left out", out)
    names = {path.name for path in folder.iterdir()} - {"notes.txt"}
    assert set(hub.files(NAME)) == names
    for name in names - {CARD_FILE}:
        assert hub.files(NAME)[name] == (folder / name).read_bytes()
    assert not any(b"a key" in content for content in hub.files(NAME).values())
    assert not hub.repositories[NAME]["private"]
    assert f"/{NAME}.git/info/lfs/objects/batch" in hub.asked

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    noise = 0.1 * np.random.default_rng(0).standard_normal(8000)
    soundfile.write(elsewhere / "street.wav", noise, 8000)
    model = AudioLanguageModel.from_hparams(source=folder, run_opts={"device": "cpu"})
    prompts = ("generate audio caption", "question: is it raining?")
    answers = [
        model.generate_file(elsewhere / "street.wav", prompt) for prompt in prompts
    ]
    card = ModelCard(hub.files(NAME)[CARD_FILE].decode())
    (snippet,) = re.findall(r"```python\n(.*?)```", card.text, re.DOTALL)
    assert f'source="{NAME}"' in snippet
    done = fetched(hub, elsewhere, code=snippet)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == answers


def test_the_card_has_the_scores_of_this_very_model(push, run_folder):
    folder = run_folder / "model"
    (folder / CARD_FILE).write_text(
        (folder / CARD_FILE).read_text() + "\n## Limitations\n\nOnly tones.\n"
    )
    status, out, err = push(folder, NAME, "--datasets", "general_midi", "my_clips")
    assert status == 0, err
    assert "Nothing was uploaded" in out
    text = re.search(r"\nREADME\.md:\n\n(.*)\nNothing was", out, re.DOTALL)[1]
    card = ModelCard(text)
    assert card.data.license == "apache-2.0"
    assert card.data.language == ["en"]
    assert card.data.datasets == ["general_midi", "my_clips"]
    assert card.data.metrics == ["exact_match"]
    assert {"speechbrain", "pengi"} <= set(card.data.tags)
    (result,) = card.data.eval_results
    assert (result.dataset_name, result.metric_value) == ("tones", 0.75)
    assert "| tones | exact match | 8 | 0.7500 |" in card.text
    assert "| General MIDI | GPL-2.0 (the sound font) |" in card.text
    assert "| my_clips |" in card.text
    assert card.text.count("## Limitations") == 1
    assert "Say here" not in card.text


def test_scores_of_another_model_are_never_in_the_card(push, run_folder):
    folder = run_folder / "model"
    with open(folder / "lm.safetensors", "r+b") as file:  # one other weight
        file.seek(-4, os.SEEK_END)
        file.write(np.float32(0.123).tobytes())
    status, out, err = push(folder, NAME)
    assert status == 0, err
    assert "has scores of another model" in out
    assert "This model has not been scored." in out
    assert "0.7500" not in out
    status, _, err = push(folder, NAME, "--scores", run_folder / "test_scores.json")
    assert status == 2
    assert re.search(r"has scores of \w{16}; the model in .* is \w{16}", err)


def test_a_card_that_was_fetched_does_not_keep_its_scores():
    line = score_line(Score("exact match", 0.75, 0.5, 1.0, 8), group="tones")
    own = "# Pengi\n\n## Scores\n\nBy ear: good.\n"
    for text, kept in (("# Pengi\n", False), (own, True)):
        first = publishable_card(ModelCard(text), Facts("a/b", "mit", lines=[line]))
        assert "0.75" in first.text
        again = publishable_card(ModelCard(first.text), Facts("a/c", "mit"))
        card = ModelCard(again.text)
        assert any("section Scores" in line for line in again.remarks) == kept
        assert card.data.eval_results is None
        assert card.data.metrics is None
        assert "0.75" not in card.content
        assert ("By ear: good." in card.text) == kept
        assert card.text.count("## Scores") == card.text.count("## Citing") == 1


def test_a_card_that_was_pushed_before_is_of_this_push():
    facts = Facts("a/b", "mit", datasets=["general_midi", "my_clips"])
    other = 'EncoderASR.from_hparams(source="speechbrain/asr")'
    snippet = (
        "# Pengi\n\n```python\n"
        'AudioLanguageModel.from_hparams(source="FOLDER_OR_HUB_NAME")\n'
        f"{other}\n```\n"
    )
    first = publishable_card(ModelCard(snippet), facts)
    assert first.remarks == []
    for datasets, said, not_said in (
        (["clotho"], "| Clotho", "my_clips"),
        ([], "Not known to the program", "General MIDI"),
    ):
        facts = Facts("a/c", "cc-by-4.0", datasets=datasets)
        again = publishable_card(ModelCard(first.text), facts)
        body = ModelCard(again.text).text
        assert said in body
        assert not_said not in body
        assert "cc-by-4.0. The licences" in body
        assert "mit." not in body
        assert 'AudioLanguageModel.from_hparams(source="a/c")' in body
        assert other in body  # a model of others
        assert again.remarks == [
            "its licence was mit, and is now cc-by-4.0.",
            "its snippet loaded a/b, and now loads a/c.",
        ]
        for title in ("Scores", "Training data", "Licence", "Limitations", "Citing"):
            assert body.count(f"## {title}\n") == 1
        last = publishable_card(ModelCard(again.text), facts)
        assert last.text == again.text


def test_words_below_earlier_scores_are_not_left_out_in_silence():
    line = score_line(Score("exact match", 0.75, 0.5, 1.0, 8), group="tones")
    facts = Facts("a/b", "mit", lines=[line])
    first = publishable_card(ModelCard("# Pengi\n"), facts).text
    assert publishable_card(ModelCard(first), facts).remarks == []
    own = first.replace("\n## Training data", "\nTwice as\ngood.\n\n## Training data")
    again = publishable_card(ModelCard(own), facts)
    assert "Twice" not in again.text
    assert again.remarks == [
        "what stands below its earlier scores is left out: Twice as good."
    ]


def test_the_name_of_another_licence_does_not_stay():
    head = "---\nlicense: other\nlicense_name: house\nlicense_link: LICENSE\n---\n# P\n"
    for licence, kept in (("mit", None), ("other", "house")):
        card = publishable_card(ModelCard(head), Facts("a/b", licence))
        assert ModelCard(card.text).data.license_name == kept


@pytest.mark.parametrize("title", ["Licence", "License", "Training data", "Citation"])
def test_what_a_person_has_written_is_kept_and_told(title, push, run_folder):
    folder = run_folder / "model"
    with open(folder / CARD_FILE, "a") as file:
        file.write(f"\n## {title}\n\nAsk the choir.\n")
    status, out, err = push(folder, NAME, "--datasets", "general_midi")
    assert status == 0, err
    assert f"README.md: its section {title} is kept as it stands; check it." in out
    assert out.count("is kept as it stands") == 1
    text = re.search(r"\nREADME\.md:\n\n(.*)\nNothing was", out, re.DOTALL)[1]
    assert "Ask the choir." in text
    titles = re.findall(r"## (.*)", text)
    assert len(titles) == len(set(titles)) == 5  # no other section of that meaning


def test_a_card_that_is_a_link_out_of_the_folder_is_refused(hub, push, run_folder):
    folder = run_folder / "model"
    (run_folder / "private.md").write_text((folder / CARD_FILE).read_text() + "mine")
    (folder / CARD_FILE).unlink()
    (folder / CARD_FILE).symlink_to("../private.md")
    status, out, err = push(folder, "someone/linked", "--yes")
    assert status == 2
    assert "README.md is a link to" in err
    assert "mine" not in out
    assert "someone/linked" not in hub.repositories
    (folder / CARD_FILE).unlink()
    (folder / "card.md").write_text((run_folder / "private.md").read_text())
    (folder / CARD_FILE).symlink_to("card.md")  # inside
    assert push(folder, "someone/linked", "--yes")[0] == 0


def test_private_is_private_or_refused(hub, push, tiny_folder, tmp_path):
    status, _, err = push(tiny_folder, "someone/hidden", "--private", "--yes")
    assert status == 0, err
    assert hub.repositories["someone/hidden"]["private"]
    code = (
        "from huggingface_hub import hf_hub_download as fetch\n"
        "print(fetch('someone/hidden', 'hyperparams.yaml'))"
    )
    assert "hyperparams.yaml" in fetched(hub, tmp_path, code=code).stdout
    (tmp_path / "stranger").mkdir()
    stranger = fetched(hub, tmp_path / "stranger", "hf_of_a_stranger", code)
    assert stranger.returncode == 1

    hub.repositories["someone/seen"] = {"private": False, "commits": [{}]}
    status, _, err = push(tiny_folder, "someone/seen", "--private", "--yes")
    assert status == 2
    assert "someone/seen is there already and public" in err
    assert hub.files("someone/seen") == {}


def breaks(folder):
    """Return name -> what is done to a model's folder, and what the refusal says."""
    yaml = folder / "hyperparams.yaml"

    def add(text):
        yaml.write_text(yaml.read_text() + text)

    return {
        "code": (lambda: add("x: !apply:os.system [ls]\n"), "!apply:os.system"),
        "include": (lambda: add("x: !include:y.yaml\n"), "includes y.yaml"),
        "missing": ((folder / "lm.safetensors").unlink, "holds no lm.safetensors"),
        "damaged": (
            lambda: (folder / "lm.safetensors").write_bytes(b"no weights"),
            "does not hold the weights",
        ),
        "no model": (yaml.unlink, "holds no hyperparams.yaml"),
    }


@pytest.mark.parametrize("name", ["code", "include", "missing", "damaged", "no model"])
def test_a_folder_that_others_could_not_load_is_refused(
    name, hub, push, tiny_folder, tmp_path
):
    folder = tmp_path / "broken"
    shutil.copytree(tiny_folder, folder)
    (folder / "y.yaml").write_text("a: 1\n")
    damage, message = breaks(folder)[name]
    damage()
    status, _, err = push(folder, "someone/broken", "--yes")
    assert status == 2
    assert message in err
    assert "someone/broken" not in hub.repositories


def test_the_folder_of_a_run_is_refused(push, run_folder):
    status, _, err = push(run_folder, NAME, "--yes")
    assert status == 2
    assert "its model is in" in err


def test_a_wrong_token_is_told(hub, push, tiny_folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    status, _, err = push(tiny_folder, "someone/new", "--yes")
    assert status == 2
    assert "401" in err
    assert "someone/new" not in hub.repositories


def test_a_table_that_is_none_is_told(push, tiny_folder, tmp_path):
    for text in ("{}", "no json", json.dumps([1])):
        (tmp_path / "table.json").write_text(text)
        status, _, err = push(tiny_folder, NAME, "--scores", tmp_path / "table.json")
        assert status == 2
        assert "is no table of scores" in err
