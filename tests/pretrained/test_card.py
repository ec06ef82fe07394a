"""What a model's card says of the data sets, wherever the model is."""

import shutil

import pytest

from pengi_plugin.pretrained.card import datasets_of, note_datasets
from pengi_plugin.storage import locate


@pytest.fixture
def model(tiny_folder, tmp_path):
    """A model of which the card names a data set, in a folder ``model``."""
    shutil.copytree(tiny_folder, tmp_path / "model")
    note_datasets(tmp_path / "model", ["clotho"])
    return tmp_path / "model"


def test_data_sets_are_those_of_the_folder_that_is_meant(model, monkeypatch):
    monkeypatch.setenv("HOME", str(model.parent))
    assert datasets_of(model) == ["clotho"]
    assert datasets_of("~/model") == ["clotho"]
    (model / "README.md").unlink()
    assert datasets_of(model) == []


def test_a_model_on_the_hub_has_the_data_sets_of_its_card(model, monkeypatch, caplog):
    def fetch(repository, file):
        if repository != "me/pengi":
            raise OSError("404")
        return str(model / file)

    monkeypatch.setattr(locate.huggingface_hub, "hf_hub_download", fetch)
    assert datasets_of("me/pengi") == ["clotho"]
    assert not caplog.records
    assert datasets_of("me/without_card") == []
    assert "me/without_card was trained on are not known" in caplog.text


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no file or folder"):
        datasets_of(tmp_path / "absent")
