"""Is it a path, a hub name or a web address? One table for all who ask."""

import logging
from pathlib import Path

import huggingface_hub
import pytest

from pengi_plugin.conversion.clap import load_clap
from pengi_plugin.inference import AudioLanguageModel
from pengi_plugin.lobes.audio_encoder import AudioEncoder
from pengi_plugin.lobes.htsat import HTSAT
from pengi_plugin.lobes.prefix_lm import PrefixLM
from pengi_plugin.lobes.tokenizer import HFTokenizer
from pengi_plugin.pretrained.folder import find_folder
from pengi_plugin.storage.locate import REMOTE_FORMS, Location, download, locate

EVERY_FORM = tuple(REMOTE_FORMS)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with models/mine/lm.json, model.json and a b.wav, to work in."""
    (tmp_path / "models" / "mine").mkdir(parents=True)
    for name in ("models/mine/lm.json", "model.json", "b.wav"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("models", "models"),
        ("models/mine", "models/mine"),
        ("models/mine/", "models/mine"),
        ("./models/mine/lm.json", "models/mine/lm.json"),
        ("models/../b.wav", "models/../b.wav"),
        ("b.wav", "b.wav"),
        (Path("models/mine"), "models/mine"),
    ],
)
def test_what_exists_is_a_path(name, path):
    assert locate(name, *EVERY_FORM) == Location(path=Path(path))
    assert locate(name) == Location(path=Path(path))


def test_the_home_folder_is_filled_in(tmp_path):
    assert locate("~/models", *EVERY_FORM).path == tmp_path / "models"


@pytest.mark.parametrize(
    ("name", "location"),
    [
        ("gpt2", Location(repository="gpt2")),
        ("distilbert-base-uncased", Location(repository="distilbert-base-uncased")),
        ("openai/clip", Location(repository="openai/clip")),
        ("Qwen/Qwen2.5-0.5B", Location(repository="Qwen/Qwen2.5-0.5B")),
        ("me/model/b.wav", Location(repository="me/model", file="b.wav")),
        ("me/model/c/d.pth", Location(repository="me/model", file="c/d.pth")),
        ("https://a.org/b.wav", Location(url="https://a.org/b.wav")),
        ("http://a.org/b.wav?c=d", Location(url="http://a.org/b.wav?c=d")),
    ],
)
def test_a_remote_name_is_told_by_its_form(name, location):
    assert locate(name, *EVERY_FORM) == location


@pytest.mark.parametrize(
    "name",
    [
        "/no/such/folder",
        "/nowhere",
        "./gone",
        "../gone",
        ".hidden/gone",
        "~/gone",
        "models/gone",
        "models/gone/lm.json",
        "models/gone.pth",
        "gone.json",
        "gone/lm.json",
        "gone/lm.safetensors",
        "a/b/c",
        "a/b/c/d",
        "models\\gone",
        "C:\\models\\gone",
        "C:/models",
        "a folder/gone",
        "",
        Path("openai/clip"),
    ],
)
def test_what_has_a_paths_form_is_missing_and_never_asked_for(name, caplog):
    with caplog.at_level(logging.INFO), pytest.raises(FileNotFoundError) as error:
        locate(name, *EVERY_FORM)
    assert f"There is no file or folder {name}" in str(error.value)
    assert "Give a path that exists or owner/name (a repository" in str(error.value)
    assert not caplog.records


def test_a_relative_path_is_said_to_be_missing_in_the_working_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"models/gone in {tmp_path}\. Give"):
        locate("models/gone", *EVERY_FORM)


@pytest.mark.parametrize(
    ("name", "forms"),
    [
        ("gpt2", ("owner/name",)),
        ("me/model", ("owner/name/file", "https://...")),
        ("me/model/b.wav", ("owner/name", "name")),
        ("https://a.org/b.wav", ("owner/name", "name", "owner/name/file")),
    ],
)
def test_only_the_forms_that_may_be_meant_are_taken(name, forms):
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        locate(name, *forms)


def test_the_log_says_that_the_hub_is_asked(caplog):
    with caplog.at_level(logging.INFO):
        locate("me/model", "owner/name")
    (record,) = caplog.records
    assert record.message.startswith("me/model is not a path on this machine; asking")


def test_a_file_that_the_hub_does_not_give_is_named_with_the_reason(monkeypatch):
    def refuse(repository, file):
        raise OSError(f"404 for {file}")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(FileNotFoundError, match=r"^me/model .* its x\.pth .*404 for"):
        download("me/model", "x.pth")


CALLERS = {
    "language model": lambda name: PrefixLM(source=name),
    "tokenizer": HFTokenizer,
    "model folder": find_folder,
    "CLAP checkpoint": lambda name: load_clap(AudioEncoder(HTSAT()), name),
    "model": lambda name: AudioLanguageModel.from_hparams(name),
}


@pytest.mark.parametrize("name", ["models/gone", "./gone", "a/b/c", "~/gone"])
@pytest.mark.parametrize("caller", CALLERS)
def test_everybody_says_the_same_of_a_missing_path(caller, name):
    with pytest.raises(FileNotFoundError, match=f"There is no file or folder {name}"):
        CALLERS[caller](name)


@pytest.mark.parametrize("caller", ["model folder", "model", "CLAP checkpoint"])
def test_one_word_is_a_path_for_all_but_parts_of_models(caller):
    with pytest.raises(FileNotFoundError, match="There is no file or folder pengi_min"):
        CALLERS[caller]("pengi_mini")


def test_a_file_is_no_models_folder():
    with pytest.raises(NotADirectoryError, match=r"model\.json is a file; give"):
        find_folder("model.json")
