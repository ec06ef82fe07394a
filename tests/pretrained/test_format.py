"""Folders written by earlier releases load: class paths in YAML are a file format."""

import io
import shutil
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAML

from pengi_plugin.inference import AudioLanguageModel
from pengi_plugin.pretrained.write import write_model

#: ``hyperparams.yaml`` files as releases wrote them, by ``pengi export``.
EXPORTED = sorted(Path(__file__).parent.glob("exported_*.yaml"))


@pytest.mark.parametrize("written", EXPORTED, ids=lambda path: path.stem)
def test_a_folder_of_an_earlier_release_answers_as_one_of_today(
    written, tiny_folder, tmp_path
):
    old = tmp_path / "old"
    shutil.copytree(tiny_folder, old)
    shutil.copy(written, old / "hyperparams.yaml")
    wavs, lengths = torch.randn(2, 8000) / 10, torch.ones(2)
    today = AudioLanguageModel.from_hparams(source=tiny_folder)
    earlier = AudioLanguageModel.from_hparams(source=old)
    prompts = ["what is it?", "generate audio caption"]
    assert torch.equal(
        today.encode_batch(wavs, lengths, prompts),
        earlier.encode_batch(wavs, lengths, prompts),
    )
    assert today.generate_batch(wavs, lengths, prompts) == earlier.generate_batch(
        wavs, lengths, prompts
    )


def test_there_is_a_folder_of_every_release_to_load():
    assert [path.stem for path in EXPORTED] == ["exported_0_1_0"]


@pytest.mark.parametrize("form", [None, *EXPORTED], ids=lambda path: path and path.stem)
def test_overrides_of_settings_take_effect_in_an_exported_folder(
    form, tiny_folder, tmp_path
):
    folder = tmp_path / "folder"
    shutil.copytree(tiny_folder, folder)
    if form:
        shutil.copy(form, folder / "hyperparams.yaml")
    settings = {"normalize_prompt": False, "beam_size": 2, "max_new_tokens": 3}
    model = AudioLanguageModel.from_hparams(source=folder, overrides=settings)
    assert model.mods.pengi.normalize_prompt is False
    assert model.mods.searcher.beam_size == 2
    assert model.mods.searcher.max_new_tokens == 3
    with pytest.raises(KeyError, match="beam_sise"):
        AudioLanguageModel.from_hparams(source=folder, overrides={"beam_sise": 2})


def test_a_setting_that_the_exported_search_lacks_cannot_be_overridden(root, tmp_path):
    text = (root / "hparams" / "model" / "tiny.yaml").read_text()
    text = text.replace("beam.PrefixBeamSearcher", "greedy.PrefixGreedySearcher")
    text = text.replace("    beam_size: !ref <beam_size>\n", "")
    section = YAML().load(resolve_references(io.StringIO(text)))
    write_model(tmp_path, section, load_hyperpyyaml(io.StringIO(text)))
    AudioLanguageModel.from_hparams(source=tmp_path, overrides={"max_new_tokens": 3})
    with pytest.raises(KeyError, match="beam_size"):
        AudioLanguageModel.from_hparams(source=tmp_path, overrides={"beam_size": 2})
