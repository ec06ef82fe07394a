"""A model is a folder or the hub's: decided once, whatever lies beside."""

import importlib
import json
import shutil

import pytest
from speechbrain.utils.fetching import FetchFrom, FetchSource

from pengi_plugin.__main__ import main
from pengi_plugin.commands.model import find_model
from pengi_plugin.inference import AudioLanguageModel
from pengi_plugin.storage.fingerprint import fingerprint
from tests.sounds import write_sounds

NAME = "someone/pengi"


@pytest.fixture
def of_the_hub(tiny_folder, tmp_path, monkeypatch):
    """A hub that has a model, whose name is that of a folder with another one here."""
    cached = tmp_path / "snapshots" / "0a1b"
    shutil.copytree(tiny_folder, cached)
    here = tmp_path / "here"
    shutil.copytree(tiny_folder, here / NAME)
    (here / NAME / "lm.safetensors").write_bytes(b"of another model")
    monkeypatch.chdir(here)
    asked = []

    def download(repository, file):
        asked.append((repository, file))
        return cached / file

    load = AudioLanguageModel.from_hparams

    def from_hparams(source, **options):
        assert source == FetchSource(FetchFrom.HUGGING_FACE, NAME)
        return load(source=cached, **options)

    monkeypatch.setattr("pengi_plugin.storage.fingerprint.download", download)
    monkeypatch.setattr(AudioLanguageModel, "from_hparams", from_hparams)
    return f"{NAME}@0a1b"


def test_what_is_named_so_is_the_hubs_and_all_else_a_folder(of_the_hub):
    hub, folder = find_model(f"hub:{NAME}"), find_model(NAME)
    assert hub == FetchSource(FetchFrom.HUGGING_FACE, NAME)
    assert folder[0] == FetchFrom.LOCAL
    assert fingerprint(hub) == fingerprint(f"hub:{NAME}") == of_the_hub
    assert fingerprint(folder) == fingerprint(NAME)
    assert len(fingerprint(NAME)) == 16
    for name in ("hub:pengi", "hub:../pengi", "hub:"):
        with pytest.raises(ValueError, match=f"Give hub:owner/name; got '{name}'"):
            find_model(name)


def test_the_server_tells_and_loads_the_model_of_the_hub(of_the_hub, monkeypatch):
    pytest.importorskip("litserve")
    server = importlib.import_module("pengi_plugin.serving.server")
    served = []
    monkeypatch.setattr(
        server, "make_server", lambda api, info: served.append((api, info))
    )
    monkeypatch.setattr(server, "run_server", lambda *_: None)
    assert main(["serve", f"hub:{NAME}", "--device", "cpu"]) == 0
    ((api, info),) = served
    assert info["model"] == api.about["model"] == of_the_hub
    api.setup("cpu")  # asserts that it is the hub's


def test_annotations_are_of_the_model_of_the_hub(of_the_hub, tmp_path):
    (sound,) = write_sounds(tmp_path, (0.5,))
    (tmp_path / "list.txt").write_text(str(sound))
    out = tmp_path / "out"
    words = [f"hub:{NAME}", tmp_path / "list.txt", out, "--prompts", "what is it?"]
    assert main(["annotate", *map(str, words), "--device", "cpu"]) == 0
    assert json.loads((out / "settings.json").read_text())["model"] == of_the_hub


def test_the_page_is_of_the_model_of_the_hub(of_the_hub, monkeypatch):
    pytest.importorskip("gradio")
    page = importlib.import_module("pengi_plugin.demo.page")
    titles = []
    monkeypatch.setattr(page, "make_page", lambda *given: titles.append(given[-1]))
    monkeypatch.setattr(page, "launch", lambda *_: None)
    monkeypatch.setattr("pengi_plugin.commands.demo.signal.signal", lambda *_: None)
    assert main(["demo", f"hub:{NAME}", "--no-examples", "--device", "cpu"]) == 0
    assert titles == [NAME]


def test_the_benchmark_scores_the_model_of_the_hub(root, of_the_hub, tmp_path, capsys):
    from tests.recipes.conftest import recipe_main

    evaluate = recipe_main(root, "benchmark", "evaluate.py")
    yaml = "search: {{}}\nbatch_size: 1\noutput_folder: {}\nsets: {{}}\n"
    (tmp_path / "sets.yaml").write_text(yaml.format(tmp_path / "out"))
    assert evaluate([str(tmp_path / "sets.yaml"), f"--model=hub:{NAME}"]) == []
    assert "someone--pengi@0a1b" in capsys.readouterr().out


def test_a_folder_of_that_name_is_not_published(of_the_hub, capsys):
    assert main(["push", f"hub:{NAME}", "a/b", "--license", "mit"]) == 2
    assert f"There is no folder hub:{NAME}" in capsys.readouterr().err


def test_no_command_takes_a_mistyped_folder_to_the_hub(of_the_hub, tmp_path, capsys):
    rest = {
        "ask": ["?", "a.wav"],
        "classify": ["--labels", "a,b", "a.wav"],
        "describe": ["a.wav"],
        "annotate": [str(tmp_path), str(tmp_path / "out"), "--prompts", "?"],
        "serve": [],
        "demo": [],
        "export-onnx": [str(tmp_path / "onnx")],
    }
    for command, words in rest.items():
        assert main([command, "modles/pengi", *words]) == 2
        message = capsys.readouterr().err
        assert "There is no folder modles/pengi" in message, command
