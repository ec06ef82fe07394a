"""What follows the end of a sound font's samples is sound, not foreign memory."""

import struct
from pathlib import Path

import numpy as np
import pytest

from pengi_plugin.corpora.general_midi.sample_ends import (
    GUARD,
    apply_sample_ends,
    looped_samples,
)
from pengi_plugin.corpora.general_midi.soundfont import (
    check_sound,
    render,
    sound_font,
)
from pengi_plugin.corpora.general_midi.soundfont_file import find_parts


def chunk(name, content):
    return name + struct.pack("<I", len(content)) + content


def make_font(samples, instruments, n_point):
    """A font of a ramp of points, samples of (first, end, loop, loop end) and
    instruments of zones of (generator, amount)."""
    points = struct.pack(f"<{n_point}h", *range(n_point))
    headers = b"".join(bytes(20) + struct.pack("<4I", *s) + bytes(10) for s in samples)
    records, firsts, generators = b"", [0], b""
    for zones in instruments:
        records += bytes(20) + struct.pack("<H", len(firsts) - 1)
        for zone in zones:
            generators += b"".join(struct.pack("<HH", *pair) for pair in zone)
            firsts.append(len(generators) // 4)
    records += bytes(20) + struct.pack("<H", len(firsts) - 1)
    parts = chunk(b"inst", records)
    parts += chunk(b"ibag", b"".join(struct.pack("<HH", at, 0) for at in firsts))
    parts += chunk(b"igen", generators + bytes(4))
    parts += chunk(b"shdr", headers + b"EOS" + bytes(43))
    lists = chunk(b"LIST", b"sdta" + chunk(b"smpl", points))
    return chunk(b"RIFF", b"sfbk" + lists + chunk(b"LIST", b"pdta" + parts))


def read(font):
    """The points of a font, and the four numbers of each sample."""
    parts = find_parts(font)
    start, end = parts[b"shdr"]
    headers = [struct.unpack_from("<4I", font, at + 20) for at in range(start, end, 46)]
    return np.frombuffer(font[slice(*parts[b"smpl"])], "<i2"), headers[:-1]


LOOPED, UNLOOPED = [(54, 1), (53, 0)], [(53, 1)]


def test_a_loops_beginning_follows_its_end_and_nothing_else_changes():
    samples = [(0, 100, 40, 99), (150, 250, 160, 249), (300, 400, 310, 350)]
    font = make_font(samples, [[LOOPED, UNLOOPED, [(54, 3), (53, 2)]]], 500)
    points, headers = read(apply_sample_ends(font))
    assert headers == [
        (0, 99 + GUARD, 40, 99),  # looped: from loop start on behind the old end
        (150, 250 + GUARD, 160, 249),  # not looped: the points that are there
        (300, 400, 310, 350),  # looped, with enough behind its loop
    ]
    expected = np.arange(500)
    expected[100 : 99 + GUARD] = range(41, 40 + GUARD)
    assert np.array_equal(points, expected)


def test_a_short_loop_is_repeated_behind_its_end():
    font = make_font([(0, 99, 96, 99)], [[LOOPED]], 200)
    points, _ = read(apply_sample_ends(font))
    assert points[99 : 99 + GUARD].tolist() == [96, 97, 98] * 2 + [96, 97]


def test_a_loop_in_an_instruments_first_zone_is_that_of_all_its_zones():
    zones = [[[(54, 1)], [(53, 0)], [(54, 0), (53, 1)]], [[(53, 2)]]]
    font = make_font([(0, 1, 0, 1)] * 3, zones, 9)
    assert looped_samples(font, find_parts(font)) == {0}


def test_samples_without_room_between_them_are_refused():
    font = make_font([(0, 100, 40, 100), (104, 200, 110, 150)], [[LOOPED]], 300)
    with pytest.raises(ValueError, match=r"Sample 0 .* ends 4 points before"):
        apply_sample_ends(font)


def test_the_font_that_is_played_has_room_behind_every_loop():
    font = Path(sound_font()).read_bytes()
    looped = looped_samples(font, find_parts(font))
    (before, old), (after, new) = read(font), read(apply_sample_ends(font))
    tight = [n for n in looped if old[n][1] < old[n][3] + 2]
    assert len(tight) == 16
    assert all(new[n][1] >= new[n][3] + GUARD for n in looped)
    assert all(0 <= b[1] - a[1] <= GUARD for a, b in zip(old, new))
    for first, end, *_ in old:
        assert np.array_equal(before[first:end], after[first:end])


def test_a_sound_does_not_depend_on_what_lay_in_memory():
    sound = 66, 76, 77, (0.1,), 0.8  # an alto saxophone of which the loop is the end
    waves = []
    for value in (0.0, 1e3, -1e4) * 5:
        junk = [np.full(size, value, np.float32) for size in range(2, 60_000, 997)]
        del junk
        waves.append(render(*sound, seconds=1.0))
    assert all(np.array_equal(wave, waves[0]) for wave in waves)


@pytest.mark.parametrize("value", [1e30, np.inf, np.nan])
def test_numbers_that_are_no_sound_are_refused(value):
    wave = np.zeros(9, np.float32)
    check_sound(wave, "program 1")
    wave[3] = value
    with pytest.raises(RuntimeError, match="for program 1, where"):
        check_sound(wave, "program 1")
