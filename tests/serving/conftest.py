"""Sounds, and requests with them in both forms."""

import base64

import numpy as np
import pytest
import soundfile

RATE = 8000


@pytest.fixture(scope="session")
def sounds(tmp_path_factory):
    """Return files of different sounds and lengths."""
    folder = tmp_path_factory.mktemp("sounds")
    paths = []
    for seed, seconds in enumerate((0.4, 2.5, 1.0, 1.7)):
        draw = np.random.default_rng(seed)
        time = np.arange(int(seconds * RATE)) / RATE
        wave = 0.3 * np.sin(2 * np.pi * (200 + 700 * seed) * time)
        wave += 0.05 * (seed + 1) * draw.standard_normal(len(time))
        paths.append(folder / f"sound_{seed}.wav")
        soundfile.write(paths[-1], wave, RATE)
    return paths


@pytest.fixture(scope="session")
def in_base64():
    """Return a function: path -> its bytes as JSON holds them."""
    return lambda path: base64.b64encode(path.read_bytes()).decode()
