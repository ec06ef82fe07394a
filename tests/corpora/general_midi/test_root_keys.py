import struct

import pytest

from pengi_plugin.corpora.general_midi.root_keys import apply_root_keys


def chunk(name, content):
    return name + struct.pack("<I", len(content)) + content


def header(key):
    """A sample header of 46 bytes, its root key at byte 40."""
    return bytes(40) + bytes([key]) + bytes(5)


def make_font(headers, zones):
    """A sound font with sample headers and zones of (generator, amount)."""
    firsts, generators = [0], b""
    for zone in zones:
        generators += b"".join(struct.pack("<HH", *pair) for pair in zone)
        firsts.append(len(generators) // 4)
    bags = b"".join(struct.pack("<HH", first, 0) for first in firsts)
    parts = chunk(b"ibag", bags) + chunk(b"igen", generators + bytes(4))
    parts += chunk(b"shdr", b"".join(headers) + b"EOS" + bytes(43))
    lists = chunk(b"LIST", b"sdta" + b"waves") + b"\0"  # odd sizes are padded
    lists += chunk(b"LIST", b"pdta" + parts)
    return chunk(b"RIFF", b"sfbk" + lists)


def keys_of_zones(font):
    """Follow every zone to its sample header; return the headers' keys."""
    assert struct.unpack_from("<I", font, 4)[0] == len(font) - 8
    assert struct.unpack_from("<I", font, font.index(b"pdta") - 4)[0] == len(
        font[font.index(b"pdta") :]
    )
    start = font.index(b"shdr") + 8
    (size,) = struct.unpack_from("<I", font, start - 4)
    assert start + size == len(font)
    assert font[-46:-43] == b"EOS"
    place = font.index(b"igen") + 8
    (length,) = struct.unpack_from("<I", font, place - 4)
    pairs = [struct.unpack_from("<HH", font, place + at) for at in range(0, length, 4)]
    samples = [amount for generator, amount in pairs if generator == 53]
    return [font[start + 46 * sample + 40] for sample in samples]


def test_each_zone_reaches_a_header_with_its_root_key():
    zones = [[(43, 5), (58, 72), (53, 0)], [(58, 80), (53, 0)], [(53, 1)], []]
    zones += [[(58, 72), (53, 0)]]
    font = make_font([header(60), header(61)], zones)
    assert keys_of_zones(font) == [60, 60, 61, 60]
    fixed = apply_root_keys(font)
    assert keys_of_zones(fixed) == [72, 80, 61, 72]
    assert len(fixed) == len(font) + 3 * 46
    assert b"waves" in fixed


def test_another_file_is_refused():
    with pytest.raises(ValueError, match="no SoundFont 2 file: it begins with b'RIFF"):
        apply_root_keys(b"RIFF....WAVEfmt ")
