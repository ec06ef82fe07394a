"""The picture shows the model's own front end, with the windows where they are."""

import numpy as np
import pytest
import torch

from pengi_plugin.demo.picture import draw, log_mel, outline
from pengi_plugin.inference import AudioLanguageModel

MARK = (245, 158, 11)


@pytest.fixture(scope="module")
def model(tiny_folder):
    return AudioLanguageModel.from_hparams(tiny_folder, run_opts={"device": "cpu"})


def test_the_spectrogram_is_that_of_the_model(model):
    wav = torch.randn(8000)
    features = model.mods.pengi.audio_encoder.features
    assert torch.equal(log_mel(model, wav), features(wav[None])[0])
    assert log_mel(model, torch.ones(3)).shape[1] == features.n_mels


def test_an_outline_holds_every_peak():
    wav = torch.zeros(5000)
    wav[[7, 3001]] = torch.tensor([0.5, -0.25])
    low, high = outline(wav, 100)
    assert len(low) == len(high) == 100
    assert (high.max(), low.min()) == (0.5, -0.25)
    assert (int(high.argmax()), int(low.argmin())) == (0, 60)


def test_windows_are_marked_where_they_are(model):
    pytest.importorskip("matplotlib")
    wav = 0.1 * torch.randn(16000)

    def marked(windows):
        picture = draw(model, wav, windows).astype(int)
        distance = np.abs(picture - MARK).sum(-1)
        return (distance < 30).sum(0)  # in each column of the picture

    assert marked([]).max() < 10
    columns = marked([(0.5, 1.0), (1.25, 1.5)])
    edges = np.flatnonzero(columns > 150)
    span = edges.max() - edges.min()
    places = (edges - edges.min()) / span
    for place in (0.0, 0.5, 0.75, 1.0):
        assert np.abs(places - place).min() < 0.01
    assert not ((places > 0.05) & (places < 0.45)).any()


def test_an_encoder_of_waveforms_has_a_picture_too(model, monkeypatch):
    pytest.importorskip("matplotlib")
    both = draw(model, torch.randn(8000), [(0.0, 1.0)])
    monkeypatch.setattr(model.mods.pengi.audio_encoder, "features", None)
    assert log_mel(model, torch.randn(8000)) is None
    one = draw(model, torch.randn(8000), [(0.0, 1.0)])
    assert one.shape == both.shape
    assert not np.array_equal(one, both)
