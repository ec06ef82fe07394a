"""An archive of recordings of many lengths, some of which cannot be read."""

import numpy as np
import pytest
import soundfile

#: Sample rate of ``hparams/model/tiny.yaml``, whose windows are 1 s long.
RATE = 8000


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """Return a folder of 17 files: 2 hold no audio, 1 is damaged after 2 s."""
    folder = tmp_path_factory.mktemp("archive")
    draw = np.random.default_rng(3)
    for n in range(15):
        seconds = (0.3, 1.0, 2.4, 3.0, 1.7)[n % 5]
        time = np.arange(int(seconds * RATE)) / RATE
        tone = 0.4 * np.sin(2 * np.pi * (200 + 180 * n) * time)
        noise = 0.1 * draw.standard_normal(len(time))
        soundfile.write(folder / f"{n:02}.wav", tone + noise, RATE, "FLOAT")
    wav = 0.1 * draw.standard_normal(4 * RATE).astype(np.float32)
    wav[int(2.5 * RATE)] = np.nan
    soundfile.write(folder / "13a.wav", wav, RATE, "FLOAT")
    (folder / "03a.wav").write_text("not audio")
    (folder / "09a.wav").write_text("")
    return folder
