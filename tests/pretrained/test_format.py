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


#: Key -> another value, and where a loaded model has it.
OVERRIDES = {
    "normalize_prompt": (False, lambda model: model.mods.pengi.normalize_prompt),
    "beam_size": (2, lambda model: model.mods.searcher.beam_size),
    "max_new_tokens": (3, lambda model: model.mods.searcher.max_new_tokens),
    "default_prompt": ("who?", lambda model: model.hparams.default_prompt),
    "clip_seconds": (0.5, lambda model: model.n_sample / model.hparams.sample_rate),
}


@pytest.mark.parametrize("form", ["converted", "exported", *EXPORTED], ids=str)
def test_an_override_of_each_key_takes_effect(
    form, tiny_folder, convert_golden, tmp_path
):
    folder = tmp_path / "folder"
    if form == "converted":
        _, folder = convert_golden("base_no_text_enc_seed0")
    else:
        shutil.copytree(tiny_folder, folder)
    if isinstance(form, Path):
        shutil.copy(form, folder / "hyperparams.yaml")
    values = {key: value for key, (value, _) in OVERRIDES.items()}
    usual = AudioLanguageModel.from_hparams(source=folder)
    as_text = "\n".join(f"{key}: {value}" for key, value in values.items())
    for overrides in (values, as_text):
        model = AudioLanguageModel.from_hparams(source=folder, overrides=overrides)
        for key, (value, read) in OVERRIDES.items():
            assert read(model) == value, key
            assert read(usual) != value, key


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        ({"beam_sise": 2}, KeyError, "beam_sise"),
        ({"searcher": {"beam_sise": 2}}, ValueError, "beam_sise"),
        ({"beam_size": 0}, ValueError, "beam_size must be at least 1; got 0"),
        ({"sample_rate": 16000}, ValueError, "sample_rate cannot be overridden"),
    ],
)
def test_an_override_that_cannot_be_is_an_error(overrides, error, message, tiny_folder):
    with pytest.raises(error, match=message):
        AudioLanguageModel.from_hparams(source=tiny_folder, overrides=overrides)


def test_a_setting_that_the_exported_search_lacks_cannot_be_overridden(root, tmp_path):
    text = (root / "hparams" / "model" / "tiny.yaml").read_text()
    text = text.replace("beam.PrefixBeamSearcher", "greedy.PrefixGreedySearcher")
    text = text.replace("    beam_size: !ref <beam_size>\n", "")
    section = YAML().load(resolve_references(io.StringIO(text)))
    write_model(tmp_path, section, load_hyperpyyaml(io.StringIO(text)))
    AudioLanguageModel.from_hparams(source=tmp_path, overrides={"max_new_tokens": 3})
    with pytest.raises(KeyError, match="beam_size"):
        AudioLanguageModel.from_hparams(source=tmp_path, overrides={"beam_size": 2})
