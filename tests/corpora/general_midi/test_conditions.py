import numpy as np
import pytest

from pengi_plugin.corpora.general_midi.conditions import (
    N_CONDITION,
    microphone,
    noise,
    response,
    room,
)

RATE = 16000


def test_a_room_keeps_the_sound_and_decays():
    for number in range(N_CONDITION):
        wave = room(number, RATE)
        assert wave[0] == 1.0
        assert not wave[1 : round(0.003 * RATE)].any()
        tail = np.square(wave[1:])
        assert 2 <= -10 * np.log10(tail.sum()) <= 20
        quarter = len(tail) // 4
        assert tail[:quarter].sum() > 1.5 * tail[-quarter:].sum()


def test_a_microphone_is_smooth_and_strays_from_flat_by_a_few_decibels():
    frequencies = np.geomspace(200, 3500, 400)
    curves = np.array([microphone(n, frequencies) for n in range(N_CONDITION)])
    decibels = 20 * np.log10(curves)
    assert np.abs(np.diff(decibels, axis=1)).max() < 0.6
    assert 1.5 < (decibels - decibels.mean(1, keepdims=True)).std() < 4.0
    assert microphone(0, np.array([0.0]))[0] < 0.01  # no direct current


def test_noises_have_unit_power_and_no_seam():
    for number in (0, 57, 99):
        wave = noise(number, RATE)
        assert np.square(wave).mean() == pytest.approx(1, abs=1e-4)
        assert abs(wave[0] - wave[-1]) < 4 * np.abs(np.diff(wave)).std()


@pytest.mark.parametrize(
    "make",
    [
        lambda number: room(number, RATE),
        lambda number: microphone(number, np.arange(1, 800.0)),
        lambda number: noise(number, RATE),
    ],
)
def test_no_two_numbers_give_the_same(make):
    made = {make(number).tobytes() for number in range(N_CONDITION)}
    assert len(made) == N_CONDITION
    assert np.array_equal(make(7), make(7))


def test_a_response_filters_as_convolving_with_the_room_does():
    draw = np.random.default_rng(0)
    dry = np.zeros(8192, np.float32)
    dry[:100] = draw.standard_normal(100)
    n_fft = 8192 + 8000
    heard = np.fft.irfft(np.fft.rfft(dry, n_fft) * response(3, 4, RATE, n_fft))
    wet = np.convolve(dry, room(3, RATE))[:n_fft]
    frequencies = np.fft.rfftfreq(n_fft, 1 / RATE)
    spectrum = np.fft.rfft(wet, n_fft) * microphone(4, frequencies)
    assert np.allclose(heard, np.fft.irfft(spectrum, n_fft), atol=1e-4)


def test_a_number_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="100 rooms, numbered from 0; got 100"):
        room(100, RATE)
