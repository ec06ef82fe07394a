"""Recording conditions: a number in, a room, a microphone or a noise out.

Rendered sounds are dry and clean, always the same; recordings are not. Here are 100
rooms, 100 microphones and 100 background noises, each made from its number alone, so
that a split may have some of them for itself.
"""

from functools import lru_cache

import numpy as np
from scipy import fft

#: How many rooms, microphones and noises there are.
N_CONDITION = 100

#: Longest reverberation that is kept, in seconds.
TAIL = 0.5

#: Of a microphone's response: how far it strays from flat, in dB (standard deviation
#: over frequency), and into how many cosines over log-frequency it is divided.
COLOUR, N_COSINE = 3.0, 5

#: Lowest frequency that microphones differ in, in Hz.
LOWEST = 50.0


def _generator(kind: str, number: int) -> np.random.Generator:
    if not 0 <= number < N_CONDITION:
        raise ValueError(
            f"There are {N_CONDITION} {kind}s, numbered from 0; got {number}."
        )
    kinds = ("room", "microphone", "noise")
    return np.random.default_rng((kinds.index(kind), number))


def room(number: int, sample_rate: int) -> np.ndarray:
    """Return a room's impulse response.

    The sound itself, and after 3 to 30 ms noise that decays by 60 dB in 0.1 to 0.8 s
    and has 2 to 20 dB less energy than the sound.

    Arguments
    ---------
    number : int
        0 to 99.
    sample_rate : int
        In Hz.

    Returns
    -------
    response : numpy.ndarray
        [sample], at most half a second.

    Example
    -------
    >>> response = room(3, 16000)
    >>> float(response[0]), response.shape
    (1.0, (8000,))
    """
    draw = _generator("room", number)
    delay = draw.uniform(0.003, 0.03)
    decay = draw.uniform(0.1, 0.8)
    energy = 10 ** (-draw.uniform(2.0, 20.0) / 10)
    time = np.arange(round(TAIL * sample_rate)) / sample_rate
    tail = draw.standard_normal(len(time)) * 10 ** (-3 * time / decay)
    tail[time < delay] = 0.0
    tail *= np.sqrt(energy / np.square(tail).sum())
    tail[0] = 1.0
    return tail


def microphone(number: int, frequencies: np.ndarray) -> np.ndarray:
    """Return a microphone's gain at some frequencies.

    A smooth curve over log-frequency, and a second-order edge at each end: high-pass
    at 30 to 150 Hz, low-pass at 4 to 12 kHz.

    Arguments
    ---------
    number : int
        0 to 99.
    frequencies : numpy.ndarray
        In Hz [frequency].

    Returns
    -------
    gain : numpy.ndarray
        Factors, not dB [frequency].

    Example
    -------
    >>> microphone(3, np.array([0.0, 1000.0])).round(1)
    array([0. , 0.6])
    """
    draw = _generator("microphone", number)
    # from 0 at the lowest frequency to 1 at eight octaves above
    height = np.log2(np.maximum(frequencies, LOWEST) / LOWEST) / 8
    decibels = np.zeros(len(frequencies))
    for n in range(1, N_COSINE + 1):
        wave = np.cos(np.pi * (n * height + draw.uniform(0, 2)))
        decibels += draw.normal(0, COLOUR * np.sqrt(2 / N_COSINE)) * wave
    low, high = 30 * 5 ** draw.random(), 4000 * 3 ** draw.random()
    squares = np.square(np.maximum(frequencies, 1e-3))
    edges = 1 / np.sqrt(1 + np.square(low**2 / squares))
    edges /= np.sqrt(1 + np.square(squares / high**2))
    return 10 ** (decibels / 20) * edges


def response(
    room_number: int, microphone_number: int, sample_rate: int, n_fft: int
) -> np.ndarray:
    """Return what a room and a microphone do to a sound, as a frequency response.

    Returns
    -------
    response : numpy.ndarray
        complex64 [n_fft // 2 + 1], to multiply a spectrum of ``n_fft`` samples with.
    """
    heard = _room_response(room_number, sample_rate, n_fft)
    return heard * _microphone_response(microphone_number, sample_rate, n_fft)


@lru_cache(maxsize=N_CONDITION)
def _room_response(number: int, sample_rate: int, n_fft: int) -> np.ndarray:
    return fft.rfft(room(number, sample_rate), n_fft).astype(np.complex64)


@lru_cache(maxsize=N_CONDITION)
def _microphone_response(number: int, sample_rate: int, n_fft: int) -> np.ndarray:
    frequencies = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    return microphone(number, frequencies).astype(np.float32)


@lru_cache(maxsize=N_CONDITION)
def noise(number: int, sample_rate: int, seconds: float = 5.0) -> np.ndarray:
    """Return a background noise that can be repeated without a seam.

    From brown to white (-6 to 0 dB per octave) with a colour of its own.

    Arguments
    ---------
    number : int
        0 to 99.
    sample_rate : int
        In Hz.
    seconds : float
        Its length.

    Returns
    -------
    wave : numpy.ndarray
        float32 [sample], root mean square 1.

    Example
    -------
    >>> wave = noise(3, 16000)
    >>> wave.shape, float(np.square(wave).mean().round(3))
    ((80000,), 1.0)
    """
    draw = _generator("noise", number)
    n_sample = round(seconds * sample_rate)
    frequencies = np.arange(n_sample // 2 + 1) * sample_rate / n_sample
    slope = draw.uniform(-1.0, 0.0)
    colour = microphone(int(draw.integers(N_CONDITION)), frequencies)
    gain = colour * np.maximum(frequencies, LOWEST) ** slope
    spectrum = gain * np.exp(2j * np.pi * draw.random(len(gain)))
    wave = fft.irfft(spectrum, n_sample)
    return (wave / np.sqrt(np.square(wave).mean())).astype(np.float32)
