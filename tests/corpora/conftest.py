"""Shared by the tests of the corpora: small audio files and manifests."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile


def write_tone(path, seconds=0.05, sample_rate=8000) -> Path:
    """Write a short tone, its folders made; return its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.sin(np.arange(round(seconds * sample_rate))) / 2
    soundfile.write(path, wave, sample_rate)
    return path


@pytest.fixture
def write_audio():
    """Return ``write_tone``."""
    return write_tone


@pytest.fixture
def read_rows():
    """Return a function: manifest folder, split -> its rows by ID."""
    return lambda folder, split: json.loads(
        (Path(folder) / f"{split}.json").read_text()
    )
