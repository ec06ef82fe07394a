"""With weights of 16 bits a converted checkpoint is all but what the released one was.

Weights, recordings and outputs: ``tests/golden/README.md``.
"""

import numpy as np
import pytest
import soundfile
import torch

from pengi_plugin.inference import AudioLanguageModel
from pengi_plugin.lobes.packed import PackedLinear
from pengi_plugin.lobes.products import HalfProduct, has_half

pytestmark = pytest.mark.skipif(not has_half(), reason="no kernels for float16")


def test_log_probabilities_of_an_answer_hardly_change(convert_golden, pseudo, tmp_path):
    golden, folder = convert_golden("base_seed0")
    model = AudioLanguageModel.from_hparams(
        source=folder,
        overrides={"normalize_prompt": False},
        run_opts={"device": "cpu", "precision": "fp16"},
    )
    clips = []
    for number, item in enumerate(golden["cases"]):
        path = tmp_path / f"{number}.wav"
        wave = pseudo.wave(golden, number)
        soundfile.write(path, wave, item["sample_rate"], "FLOAT")
        clips.append(model.load_clip(path))
    answer = golden["text"].removesuffix(model.hparams.answer_end)
    ours = model.score_batch(
        *(torch.stack(clips), torch.ones(len(clips)), golden["prompts"]),
        [answer] * len(clips),
        per_token=True,
    )
    released = golden["npz"]["target_log_probs"]
    difference = np.abs(np.asarray(ours) - released)
    print(f"log-probabilities change by {difference.mean():.5f} on average")
    assert 0 < difference.mean() < 2e-4 * np.abs(released).mean()
    parts = model.mods.pengi.lm.modules()
    packed = [part for part in parts if isinstance(part, PackedLinear)]
    used = {kind for part in packed if part._copies for kind in part._copies.products}
    assert used == {HalfProduct}
