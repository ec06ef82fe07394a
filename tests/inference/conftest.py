"""A tiny model with random weights, and recordings that it can tell apart."""

import numpy as np
import pytest
import soundfile
import torch
from hyperpyyaml import load_hyperpyyaml

from pengi_plugin.inference import AudioLanguageModel

#: Sample rate of ``hparams/model/tiny.yaml``, whose clips are 1 s long.
RATE = 8000


@pytest.fixture(scope="session")
def hparams(root):
    torch.manual_seed(0)
    with open(root / "hparams" / "model" / "tiny.yaml") as file:
        hparams = load_hyperpyyaml(file)
    hparams["pengi"].eval()
    larger = {"audio_encoder": 10, "audio_mapper": 20, "text_mapper": 5}
    with torch.no_grad():  # answers that depend on the sound and on the prompt
        for part, factor in larger.items():
            for weight in hparams[part].parameters():
                if weight.dim() == 2:
                    weight.mul_(factor)
    return hparams


@pytest.fixture(scope="session")
def model(hparams):
    return AudioLanguageModel(hparams["modules"], hparams, run_opts={"device": "cpu"})


@pytest.fixture
def with_searcher(hparams):
    """Return a function: class and options of a searcher -> the model with it."""

    def make(searcher_class, **options):
        searcher = searcher_class(hparams["lm"], hparams["eos_index"], **options)
        modules = hparams["modules"] | {"searcher": searcher}
        return AudioLanguageModel(modules, hparams, run_opts={"device": "cpu"})

    return make


@pytest.fixture(scope="session")
def noise():
    """Return a function: seconds -> noise whose colour changes with the seed."""

    def make(seconds, seed=0, rate=RATE):
        draw = np.random.default_rng(seed)
        n = int(seconds * rate)
        time = np.arange(n) / rate
        tone = np.sin(2 * np.pi * (300 + 400 * seed) * time)
        return (0.3 * tone + 0.1 * draw.standard_normal(n)).astype(np.float32)

    return make


@pytest.fixture
def record(tmp_path, noise):
    """Return a function that writes a recording and gives its path."""

    def write(name, seconds=1.0, seed=0, rate=RATE):
        path = tmp_path / name
        soundfile.write(path, noise(seconds, seed, rate), rate, "FLOAT")
        return path

    return write


@pytest.fixture
def mixed_files(record):
    """Return files of different sounds, the third absent, the fifth as the first."""
    paths = [record(f"{n}.wav", 0.5 + n / 3, n) for n in range(4)]
    absent = paths[0].with_name("absent.wav")
    return [*paths[:2], absent, paths[2], paths[0], paths[3]]


@pytest.fixture
def check_absent():
    """Return a function: results about ``mixed_files`` -> answers about the others."""

    def check(results, paths):
        assert [item.path for item in results] == [str(path) for path in paths]
        bad = results.pop(2)
        assert bad.answer is None
        assert isinstance(bad.error, FileNotFoundError)
        assert [item.error for item in results] == [None] * len(results)
        return [item.answer for item in results]

    return check
