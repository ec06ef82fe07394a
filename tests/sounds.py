"""Recordings of different sounds and lengths, which models answer otherwise."""

import numpy as np
import soundfile

#: Sample rate of all of them, in Hz.
RATE = 8000


def write_sounds(folder, lengths):
    """Write a tone in noise for each length in seconds; return the files' paths."""
    paths = []
    for seed, seconds in enumerate(lengths):
        draw = np.random.default_rng(seed)
        time = np.arange(int(seconds * RATE)) / RATE
        wave = 0.3 * np.sin(2 * np.pi * (200 + 700 * seed) * time)
        wave += 0.05 * (seed + 1) * draw.standard_normal(len(time))
        paths.append(folder / f"sound_{seed}.wav")
        soundfile.write(paths[-1], wave, RATE)
    return paths
