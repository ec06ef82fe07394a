"""What protocols are tested with: the tone model, and clips of tones."""

import pytest

from pengi_plugin.protocols.session import Session
from tests.tone_model import ToneModel, write_tone


@pytest.fixture
def model():
    return ToneModel()


@pytest.fixture
def session(model, tmp_path):
    return Session(model, tmp_path / "answers", {"model": "tones"}, batch_size=2)


@pytest.fixture
def clips(tmp_path):
    """Return a function: tone in Hz, name -> a row with a file of that tone."""

    def clip(tone, name, **words):
        path = tmp_path / f"{name}.wav"
        write_tone(path, tone)
        return {"id": name, "wav": str(path), "prompt": "what is it?", **words}

    return clip
