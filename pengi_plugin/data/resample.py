"""A waveform at one sampling rate in, the same sound at another rate out.

The filter is torchaudio's default one (a sinc with a Hann window over six of its zero
crossings on either side, cut off at 0.99 of the lower Nyquist frequency), as the
released Pengi uses it: Smith, *Digital Audio Resampling*, CCRMA, 2002. Two things
differ. The filter is applied by ``scipy.signal.upfirdn``, which keeps each coefficient
once; torchaudio's bank has a row per phase, which for 44,056 to 44,100 Hz is 486 MB.
And its times are computed in double precision, where torchaudio rounds them to
single: for usual rates the results differ by some 1e-5 of the signal's level.

Each sample of the result is the same sum in the same order, whichever part of the
waveform it is computed from: any part that is resampled by itself is bit-identical to
that part of the whole.
"""

import math
from functools import lru_cache

import numpy as np
from scipy.signal import upfirdn

#: Zero crossings of the sinc on either side, and cutoff relative to the lower Nyquist
#: frequency: torchaudio's defaults.
N_CROSSING = 6
ROLLOFF = 0.99


class Resampler:
    """Resample any part of a waveform.

    Arguments
    ---------
    rate : int
        Of the waveform, in Hz.
    new_rate : int
        Of the result, in Hz; where both are equal nothing is changed.

    Example
    -------
    >>> resampler = Resampler(48000, 16000)
    >>> wav = np.sin(np.arange(4800) / 10).astype(np.float32)
    >>> whole = resampler(wav, 0, 0, 1600)
    >>> first, last = resampler.input_range(1000, 1200)
    >>> part = resampler(wav[first:last], first, 1000, 1200)
    >>> np.array_equal(part, whole[1000:1200])
    True
    """

    def __init__(self, rate: int, new_rate: int):
        divisor = math.gcd(rate, new_rate)
        self.up, self.down = new_rate // divisor, rate // divisor
        if self.up == self.down:
            return
        # The filter lies on a grid of up * rate Hz, on which input samples are `up`
        # steps apart and output samples `down` steps. Its centre is at a multiple of
        # `down`, so that a whole number of output samples precedes the first one.
        cutoff = ROLLOFF * min(self.up, self.down)
        half = math.ceil(N_CROSSING * self.up * self.down / cutoff)
        self.n_before = -(-half // self.down)
        steps = np.arange(-self.n_before * self.down, half + 1)
        crossing = (steps * (cutoff / (self.up * self.down))).clip(
            -N_CROSSING, N_CROSSING
        )
        window = np.cos(crossing * (np.pi / (2 * N_CROSSING))) ** 2
        gain = cutoff / self.down
        self.taps = (np.sinc(crossing) * window * gain).astype(np.float32)
        self.n_side = -(-half // self.up)  # input samples on either side

    def output_length(self, n_input: int) -> int:
        """Return how many samples a waveform of ``n_input`` samples becomes."""
        return -(-n_input * self.up // self.down)

    def input_range(self, start: int, stop: int) -> tuple[int, int]:
        """Return which input samples the output samples from start to stop need.

        The first is one that an output sample falls on exactly, so that the filter's
        phases are those of the whole waveform.
        """
        if self.up == self.down:
            return start, stop
        first = max(start * self.down // self.up - self.n_side, 0)
        last = (stop - 1) * self.down // self.up + self.n_side + 1
        return first // self.down * self.down, last

    def __call__(
        self, wav: np.ndarray, first: int, start: int, stop: int
    ) -> np.ndarray:
        """Return output samples.

        Arguments
        ---------
        wav : numpy.ndarray
            Input samples from ``first`` on [sample], float32. After its end there is
            silence, so it may be shorter than ``input_range`` only where the
            waveform ends.
        first : int
            As ``input_range`` gives it.
        start, stop : int
            Which output samples.

        Returns
        -------
        resampled : numpy.ndarray
            [stop - start], fewer where the waveform ends before.
        """
        stop = min(stop, self.output_length(first + len(wav)))
        if stop <= start:
            return np.zeros(0, dtype=np.float32)
        if self.up == self.down:
            return wav[start - first : stop - first]
        skipped = first // self.down * self.up - self.n_before
        return upfirdn(self.taps, wav, self.up, self.down)[
            start - skipped : stop - skipped
        ]


@lru_cache(maxsize=16)
def make_resampler(rate: int, new_rate: int) -> Resampler:
    """Return the resampler of two rates, its filter computed once."""
    return Resampler(rate, new_rate)
