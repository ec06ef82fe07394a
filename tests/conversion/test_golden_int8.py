"""A checkpoint converted to int8 is nearly what the released code computed.

Weights, recordings and outputs: ``tests/golden/README.md``.
"""

import shutil

import numpy as np
import pytest
import soundfile
import torch

from pengi_plugin.inference import AudioLanguageModel
from pengi_plugin.lobes.int8 import is_int8
from pengi_plugin.pretrained.int8 import write_int8


@pytest.fixture(scope="module")
def case(convert_golden, pseudo, tmp_path_factory):
    """Return the golden outputs, the int8 model, its folder, the plain one, clips."""
    golden, plain = convert_golden("base_seed0")
    folder = tmp_path_factory.mktemp("golden") / "int8"
    shutil.copytree(plain, folder)
    write_int8(folder)
    model = AudioLanguageModel.from_hparams(
        source=folder,
        overrides={"normalize_prompt": False},
        run_opts={"device": "cpu"},
    )
    clips = []
    for number, item in enumerate(golden["cases"]):
        path = folder.parent / f"{number}.wav"
        wave = pseudo.wave(golden, number)
        soundfile.write(path, wave, item["sample_rate"], "FLOAT")
        clips.append(model.load_clip(path))
    return golden, model, folder, plain, torch.stack(clips)


def cosines(ours, released):
    ours, released = np.asarray(ours, float), np.asarray(released, float)
    norms = np.linalg.norm(ours, axis=-1) * np.linalg.norm(released, axis=-1)
    return (ours * released).sum(-1) / norms


def test_embeddings_point_where_the_released_ones_do(case):
    golden, model, _, _, clips = case
    ours = model.encode_audio(clips, torch.ones(len(clips)))
    assert cosines(ours, golden["npz"]["audio_embedding"]).min() > 0.99
    ours = model.encode_prompt(golden["prompts"])
    assert cosines(ours, golden["npz"]["text_embedding"]).min() > 0.99


def test_log_probabilities_of_an_answer_change_little(case):
    """Random weights amplify every difference more than trained ones do."""
    golden, model, _, _, clips = case
    answer = golden["text"].removesuffix(model.hparams.answer_end)
    ours = model.score_batch(
        *(clips, torch.ones(len(clips)), golden["prompts"], [answer] * len(clips)),
        per_token=True,
    )
    released = golden["npz"]["target_log_probs"]
    difference = np.abs(np.asarray(ours) - released)
    assert is_int8(model.mods)
    assert 0 < difference.mean() < 0.02 * np.abs(released).mean()


def test_the_folder_has_half_the_bytes_of_float16(case):
    _, _, folder, plain, _ = case
    sizes = [
        sum(path.stat().st_size for path in place.glob("*.safetensors"))
        for place in (folder, plain)
    ]
    assert sizes[0] < 0.51 * sizes[1] / 2
