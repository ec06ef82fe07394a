"""Folders written by earlier releases load: class paths in YAML are a file format."""

import shutil
from pathlib import Path

import pytest
import torch

from pengi_plugin.inference import AudioLanguageModel

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
