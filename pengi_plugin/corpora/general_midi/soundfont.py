"""Render General MIDI notes with a sound font: notes in, a mono wave out.

The synthesizer (``symusic``, prestosynth) runs at 48 kHz and its output is
filtered and decimated to 16 kHz in one pass over its spectrum: at low rates it never
ends on some high notes. It gets a copy of the sound font with the root keys where it
looks for them, and points behind the end of each sample.
"""

import atexit
import importlib.util
import shutil
import tempfile
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock

import numpy as np
from scipy import fft

from pengi_plugin.corpora.general_midi.conditions import TAIL
from pengi_plugin.corpora.general_midi.root_keys import apply_root_keys
from pengi_plugin.corpora.general_midi.sample_ends import apply_sample_ends

#: Of the clips, in Hz: that of the embedded default, ``hparams/model/mini.yaml``.
SAMPLE_RATE = 16000
#: Rate at which sounds are synthesized, in Hz; at lower ones some never end, see above.
SYNTH_RATE = 48000
SOUND_FONT = "TimGM6mb.sf2"

#: Two synthesizers that render at a time spoil each other's output.
RENDERING = Lock()

#: Largest sample that a sound can have; the loudest of the font reaches 3.2.
LOUDEST = 32.0

#: Width of the low-pass filter's edge below half of 16 kHz, in Hz.
EDGE = 500.0

#: Length of the stretch over which a level is measured, in seconds.
LEVEL_WINDOW = 0.05


def sound_font() -> str:
    """Return the path of the sound font that ``pretty_midi`` ships.

    Example
    -------
    >>> Path(sound_font()).name
    'TimGM6mb.sf2'
    """
    spec = importlib.util.find_spec("pretty_midi")
    if spec is not None:
        path = Path(spec.submodule_search_locations[0]) / SOUND_FONT
        if path.is_file():
            return str(path)
    raise FileNotFoundError(
        f"{SOUND_FONT} was not found; install the package pretty_midi, which ships it."
    )


def render(
    program: int,
    pitch: int,
    velocity: int,
    times: tuple[float, ...],
    duration: float,
    seconds: float,
    tuning: int = 0,
    kit: int = 0,
    heard_as=None,
) -> np.ndarray:
    """Play one instrument or one key of a drum kit.

    Arguments
    ---------
    program : int
        General MIDI program (1-128); 0 for a drum kit.
    pitch : int
        MIDI pitch, or key of the drum kit.
    velocity : int
        MIDI velocity.
    times : tuple of float
        When it is struck, in seconds.
    duration : float
        How long it is held each time, in seconds.
    seconds : float
        Length of the result.
    tuning : int
        Cents by which all is tuned up.
    kit : int
        Which drum kit (its program in bank 128 of the sound font).
    heard_as : callable
        (sample rate, length of the transform) -> the frequency response of room and
        microphone, see ``conditions.response``; None: as the sound font has it.

    Returns
    -------
    wave : numpy.ndarray
        [sample] at 16 kHz, float32, as loud as the sound font has it.

    Raises
    ------
    RuntimeError
        If the synthesizer gave numbers that are no sound.

    Example
    -------
    >>> render(41, 60, 100, (0.1,), 0.5, seconds=1.0).shape
    (16000,)
    """
    from symusic import Note, Score, Track

    rate = round(SYNTH_RATE * 2 ** (-tuning / 1200))
    stretch = SYNTH_RATE / rate
    score = Score(480, ttype="second")
    number = program - 1 if program else kit
    track = Track("", number, program == 0, ttype="second")
    for time in times:
        timing = time * stretch, duration * stretch
        track.notes.append(Note(*timing, pitch, velocity, ttype="second"))
    # Rendering ends with the last note: one beyond the clip keeps what rings on.
    track.notes.append(Note(seconds * stretch, 0.1, pitch, 1, ttype="second"))
    score.tracks.append(track)
    with RENDERING:
        wave = np.array(_synthesizer(rate).render(score, stereo=False))[0]
    check_sound(wave, f"program {program}, pitch {pitch}, kit {kit}")
    n_sample = round(seconds * SAMPLE_RATE)
    n_fft = fft.next_fast_len(n_sample + round(TAIL * SAMPLE_RATE), real=True)
    ratio = SYNTH_RATE // SAMPLE_RATE
    spectrum = fft.rfft(wave[: n_sample * ratio], n_fft * ratio)[: n_fft // 2 + 1]
    spectrum *= _low_pass(n_fft)
    if heard_as is not None:
        spectrum *= heard_as(SAMPLE_RATE, n_fft)
    return fft.irfft(spectrum, n_fft)[:n_sample] / np.float32(ratio)


def check_sound(wave: np.ndarray, name: str) -> None:
    """Raise RuntimeError if a wave [sample] holds numbers that no sound has.

    A synthesizer that reads memory which is not its own (see ``sample_ends``) may give
    any; a clip of them would be silence with a click.
    """
    peak = np.abs(wave).max()
    if not peak <= LOUDEST:  # nor if it is NaN
        raise RuntimeError(
            f"The synthesizer gave samples up to {peak} for {name}, where "
            f"{LOUDEST} is more than any sound has. Start again: what is there stays."
        )


@cache
def _low_pass(n_fft: int) -> np.ndarray:
    """Return the gain of a filter that falls from 1 to 0 just below 8 kHz."""
    frequencies = np.arange(n_fft // 2 + 1) * SAMPLE_RATE / n_fft
    slope = np.clip((SAMPLE_RATE / 2 - frequencies) / EDGE, 0, 1)
    return (0.5 - 0.5 * np.cos(np.pi * slope)).astype(np.float32)


def level(wave: np.ndarray) -> float:
    """Return the root mean square of the loudest 50 ms, in dB below full scale.

    Example
    -------
    >>> round(level(np.full(16000, 0.1)), 3)
    -20.0
    """
    window = round(LEVEL_WINDOW * SAMPLE_RATE)
    frames = wave[: len(wave) // window * window].reshape(-1, window)
    power = np.square(frames, dtype=np.float64).mean(1).max()
    return float(10 * np.log10(max(power, 1e-20)))


@lru_cache(maxsize=32)
def _synthesizer(rate: int):
    from symusic import Synthesizer

    return Synthesizer(sf_path=_playable_font(), sample_rate=rate, quality=4)


@cache
def _playable_font() -> str:
    folder = Path(tempfile.mkdtemp(prefix="sound_font_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / SOUND_FONT
    font = apply_sample_ends(Path(sound_font()).read_bytes())
    path.write_bytes(apply_root_keys(font))
    return str(path)
