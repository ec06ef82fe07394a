import json

import numpy as np
import pytest
import torch
import torchaudio
from hyperpyyaml import load_hyperpyyaml
from torch import nn

from pengi_plugin.conversion.clap import ms_clap_weights
from pengi_plugin.lobes.audio_encoder import AudioEncoder
from pengi_plugin.lobes.features import LogMel
from pengi_plugin.lobes.htsat import HTSAT
from pengi_plugin.lobes.projection import ProjectionHead

CNN14 = """
audio_encoder: !new:pengi_plugin.lobes.audio_encoder.AudioEncoder
    features: !new:pengi_plugin.lobes.features.LogMel
        sample_rate: 16000
        n_mels: 32
        f_max: 8000
    encoder: !new:speechbrain.lobes.models.Cnn14.Cnn14
        mel_bins: 32
        emb_dim: 24
"""

ECAPA = """
audio_encoder: !new:pengi_plugin.lobes.audio_encoder.AudioEncoder
    features: !new:speechbrain.lobes.features.Fbank
        n_mels: 20
    encoder: !new:speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN
        input_size: 20
        channels: [16, 16, 16, 16, 48]
        attention_channels: 8
        lin_neurons: 12
"""

BEATS = """
audio_encoder: !new:pengi_plugin.lobes.audio_encoder.AudioEncoder
    encoder: !new:speechbrain.lobes.models.beats.BEATs
        freeze: False
"""


class FrameStates(nn.Module):
    """Frames of 100 samples, as a lobe on waveforms (wav2vec 2, BEATs) gives them."""

    def forward(self, wav, wav_lens=None):
        assert wav_lens is not None  # BEATs cannot do without
        return (wav.unflatten(1, (-1, 100)),)


@pytest.mark.parametrize("name", ["base_seed0", "base_no_text_enc_seed0"])
def test_audio_embeddings_are_those_of_the_released_code(name, reference, pseudo):
    """7 s at 44.1 kHz, 2.5 s repeated, 7 s resampled, 4 s resampled and repeated."""
    golden = json.loads((reference / f"{name}.json").read_text())
    expected = np.load(reference / f"{name}.npz")["audio_embedding"]
    weights = pseudo.state_dict(golden)
    encoder = AudioEncoder(HTSAT(), LogMel(44100, mel_sample_rate=32000)).eval()
    encoder.encoder.load_state_dict(ms_clap_weights(weights, name))
    head = ProjectionHead(768, 1024).eval()
    start = "audio_encoder.projection."
    head.load_state_dict(
        {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
    )
    clips = []
    for case, row in enumerate(golden["cases"]):
        wav = torch.from_numpy(pseudo.wave(golden, case))
        wav = torchaudio.functional.resample(wav, row["sample_rate"], 44100)
        clips.append(wav.repeat(308700 // len(wav) + 1)[:308700])
    with torch.no_grad():
        embedding = nn.functional.normalize(head(encoder(torch.stack(clips))), dim=1)
    error = np.linalg.norm(embedding.numpy() - expected, axis=1)
    assert error.max() < 1e-5  # of vectors of length 1


@pytest.mark.parametrize(
    ("yaml", "d_audio"),
    [
        pytest.param(CNN14, 24, id="Cnn14"),
        pytest.param(ECAPA, 12, id="ECAPA-TDNN"),
        pytest.param(BEATS, 768, id="BEATs", marks=pytest.mark.slow),
    ],
)
def test_other_lobes_take_htsats_place_by_yaml_alone(yaml, d_audio):
    encoder = load_hyperpyyaml(yaml)["audio_encoder"]
    wavs = torch.randn(2, 16000)
    encoder(wavs, torch.tensor([1.0, 0.8])).square().sum().backward()
    assert next(encoder.parameters()).grad.abs().sum() > 0
    encoder.eval()
    with torch.no_grad():
        embedding = encoder(wavs)
        assert embedding.shape == (2, d_audio)
        assert torch.equal(embedding, encoder(wavs))


def test_states_over_time_are_averaged_over_each_clips_own_length():
    wavs = torch.cat([torch.ones(2, 200), torch.full((2, 200), 5.0)], dim=1)
    wavs[1, 300:] = float("nan")  # padding, whatever it holds
    embedding = AudioEncoder(FrameStates())(wavs, torch.tensor([1.0, 0.75]))
    expected = torch.tensor([3.0, 7 / 3])[:, None].expand(2, 100)
    torch.testing.assert_close(embedding, expected)


def test_without_lengths_every_clip_counts_whole():
    wavs = torch.randn(2, 400)
    expected = wavs.view(2, 4, 100).mean(1)
    torch.testing.assert_close(AudioEncoder(FrameStates())(wavs), expected)


def test_states_of_all_layers_are_refused_with_what_to_do():
    class AllLayers(FrameStates):
        def forward(self, wav, wav_lens=None):
            return torch.zeros(13, len(wav), 4, 8)

    with pytest.raises(ValueError, match=r"\[13, 2, 4, 8\].*output_all_hiddens"):
        AudioEncoder(AllLayers())(torch.zeros(2, 400))


def test_over_time_keeps_the_time_axis():
    class Frames(torch.nn.Module):
        def forward(self, x):
            return x.unflatten(1, (5, -1))

    wavs = torch.randn(2, 15)
    assert AudioEncoder(Frames(), over_time=True)(wavs).shape == (2, 5, 3)
    assert AudioEncoder(Frames())(wavs).shape == (2, 3)


def test_over_time_refuses_an_encoder_that_pools():
    encoder = AudioEncoder(torch.nn.Identity(), over_time=True)
    with pytest.raises(ValueError, match=r"Identity gave \[2, 15\]. HTSAT and"):
        encoder(torch.randn(2, 15))
