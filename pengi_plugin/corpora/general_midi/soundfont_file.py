"""Where the parts of a sound font lie: SoundFont 2 bytes in, offsets out.

Format: *SoundFont Technical Specification 2.04*, Creative Technology, 2006.
"""

import struct
from collections.abc import Iterator
from itertools import pairwise

#: Bytes of a sample header.
HEADER = 46

#: The generator that names a zone's sample.
SAMPLE_ID = 53


def find_parts(font: bytes) -> dict[bytes, tuple[int, int]]:
    """Return where the content of each chunk of a sound font begins and ends.

    Arguments
    ---------
    font : bytes
        A SoundFont 2 file.

    Returns
    -------
    parts : dict
        Name -> (first byte, byte behind the last) of ``sdta``, ``pdta`` and what is in
        them.

    Raises
    ------
    ValueError
        If it is no SoundFont 2 file.
    """
    if font[:4] != b"RIFF" or font[8:12] != b"sfbk":
        raise ValueError(f"This is no SoundFont 2 file: it begins with {font[:12]!r}.")
    lists = chunks(font, 12, len(font))
    parts = dict(lists)
    for name in (b"sdta", b"pdta"):
        if name in lists:
            start, end = lists[name]
            parts |= chunks(font, start + 4, end)
    return parts


def chunks(font: bytes, start: int, end: int) -> dict[bytes, tuple[int, int]]:
    """Return where the content of each chunk begins and ends; of LISTs by type."""
    found = {}
    while start + 8 <= end:
        name, size = struct.unpack_from("<4sI", font, start)
        start += 8
        name = font[start : start + 4] if name == b"LIST" else name
        found[name] = start, start + size
        start += size + size % 2
    return found


def zones(font: bytes, parts: dict) -> Iterator[dict[int, int]]:
    """Yield the zones of all instruments: generator -> its offset in the file."""
    (bag, bag_end), (generators, _) = parts[b"ibag"], parts[b"igen"]
    firsts = [struct.unpack_from("<H", font, at)[0] for at in range(bag, bag_end, 4)]
    for first, last in pairwise(firsts):
        offsets = range(generators + 4 * first, generators + 4 * last, 4)
        yield {struct.unpack_from("<H", font, offset)[0]: offset for offset in offsets}


def amount(font: bytes, offset: int) -> int:
    """Return the amount of the generator at an offset."""
    return struct.unpack_from("<H", font, offset + 2)[0]
