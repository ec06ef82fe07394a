"""Let every sample of a sound font end behind its loop: SoundFont 2 bytes in and out.

A synthesizer interpolates, so at the end of a loop it reads some points further on,
which by the format are those of the loop's beginning, and at the end of a sample some
of the zeros that follow it. ``symusic`` 0.5.8 cuts samples at the end that their header
says, and reads what lies in memory behind: now and then a click of any size. In the
font that ``pretty_midi`` ships, 16 looped samples end with their loop or one point on.

Format: *SoundFont Technical Specification 2.04*, Creative Technology, 2006, sections
7.10 and 8.1.3 (``sampleModes``).
"""

import struct

from pengi_plugin.corpora.general_midi.soundfont_file import (
    HEADER,
    SAMPLE_ID,
    amount,
    find_parts,
    zones,
)

#: The generator that says whether a zone's sample is looped (odd), and its default.
SAMPLE_MODES, UNLOOPED = 54, 0

#: Bytes of an instrument's record, and the offset in it of its first zone's number.
INSTRUMENT, ZONE_OFFSET = 22, 20

#: Points that have to follow a loop or a sample; the format leaves 46 zeros.
GUARD = 8

#: Offset of the first point, end, loop start and loop end in a sample header.
POINTS_OFFSET = 20


def apply_sample_ends(font: bytes) -> bytes:
    """Move the ends of samples behind the points that interpolation reads.

    Arguments
    ---------
    font : bytes
        A SoundFont 2 file with samples of 16 bits.

    Returns
    -------
    font : bytes
        The same, of the same length; points behind the end of a looped sample are
        those of the loop's beginning.

    Raises
    ------
    ValueError
        If it is no SoundFont 2 file, or its samples follow each other too closely.
    """
    parts = find_parts(font)
    data = bytearray(font)
    pool, pool_end = parts[b"smpl"]
    start, end = parts[b"shdr"]
    offsets = range(start, end - HEADER, HEADER)  # the last header marks the end
    points = [struct.unpack_from("<4I", font, at + POINTS_OFFSET) for at in offsets]
    firsts = sorted({first for first, *_ in points} | {(pool_end - pool) // 2})
    looped = looped_samples(font, parts)
    for number, (at, (_, last, loop, loop_end)) in enumerate(zip(offsets, points)):
        behind = max(last, loop_end) if number in looped else last
        new_end = max(last, loop_end + GUARD) if number in looped else last + GUARD
        free = min((first for first in firsts if first >= last), default=last)
        if new_end > free:
            raise ValueError(
                f"Sample {number} of the sound font ends {free - last} points before "
                f"the next one; {new_end - last} are needed."
            )
        if number in looped:
            for point in range(behind, new_end):
                n_behind = (point - loop_end) % (loop_end - loop)  # loops may be short
                source = pool + 2 * (loop + n_behind)
                target = pool + 2 * point
                data[target : target + 2] = font[source : source + 2]
        struct.pack_into("<I", data, at + POINTS_OFFSET + 4, new_end)
    return bytes(data)


def looped_samples(font: bytes, parts: dict) -> set[int]:
    """Return the numbers of the samples that some zone plays in a loop.

    An instrument's first zone, if it names no sample, is the default of the others.
    """
    every = list(zones(font, parts))
    records = range(*parts[b"inst"], INSTRUMENT)
    begins = {struct.unpack_from("<H", font, at + ZONE_OFFSET)[0] for at in records}
    looped, default = set(), UNLOOPED
    for number, zone in enumerate(every):
        if number in begins:
            default = UNLOOPED
        mode = amount(font, zone[SAMPLE_MODES]) if SAMPLE_MODES in zone else default
        if SAMPLE_ID in zone:
            if mode % 2:
                looped.add(amount(font, zone[SAMPLE_ID]))
        elif number in begins:
            default = mode
    return looped
