"""An hour of sound is asked about in the memory that five minutes take."""

import csv
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from pengi_plugin.data.ffmpeg import INSTALL, find_ffmpeg

RATE = 8000

#: Runs a command; prints the largest memory of the process in KiB. The peak that
#: ``getrusage`` gives may be that of the process which started this one.
PROGRAM = """
import sys
import torch
from pengi_plugin.__main__ import main
torch.set_num_threads(1)
status = main(sys.argv[1:])
peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(peak[0].split()[1], file=sys.stderr)
sys.exit(status)
"""


@pytest.fixture
def write(tmp_path):
    """Return a function: minutes, ending -> a recording, written second by second."""

    def make(minutes, suffix):
        path = tmp_path / f"{minutes}.wav"
        draw = np.random.default_rng(0)
        with soundfile.SoundFile(path, "w", RATE, 1) as file:
            for _ in range(60 * minutes):
                file.write(0.1 * draw.standard_normal(RATE))
        if suffix == ".wav":
            return path
        words = [find_ffmpeg(), "-v", "error", "-i", path, path.with_suffix(suffix)]
        subprocess.run(list(map(str, words)), check=True)
        return path.with_suffix(suffix)

    return make


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".wav", ".m4a"])
def test_an_hour_takes_the_memory_of_five_minutes(root, tiny_folder, write, suffix):
    if not os.path.exists("/proc/self/status"):
        pytest.skip("needs /proc, which tells a process's largest memory")
    if suffix == ".m4a" and find_ffmpeg() is None:
        pytest.skip(f"needs ffmpeg: {INSTALL}")
    words = ["ask", tiny_folder, "who?", "--all-windows", "--max-new-tokens=1"]
    words += ["--beam-size=1", "--format=csv", "--batch-size=16", "--device=cpu"]
    peaks = []
    for minutes in (5, 60):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *words, write(minutes, suffix)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr
        starts = [float(row[1]) for row in csv.reader(done.stdout.splitlines())]
        assert starts == list(range(60 * minutes))
        peaks.append(int(done.stderr.split()[-1]) / 1024)
    print(f"largest memory, MiB: {peaks}")
    # As one waveform, an hour alone would have 110 MiB.
    assert peaks[1] < peaks[0] + 20
