"""Give every sample of a sound font its root key: SoundFont 2 bytes in and out.

A zone of an instrument may say that its sample was recorded at another key than the
sample's own header says (generator 58, overridingRootKey). ``symusic`` 0.5.8 reads
the header only, and so plays a piano's middle C as A flat, two octaves up. Here the
keys of the zones are written into the headers; a sample that zones give several keys
gets a header for each.

Format: *SoundFont Technical Specification 2.04*, Creative Technology, 2006.
"""

import struct
from itertools import pairwise

SAMPLE_ID, ROOT_KEY = 53, 58

#: Bytes of a sample header, and the offset of its root key in it.
HEADER, KEY_PLACE = 46, 40


def apply_root_keys(font: bytes) -> bytes:
    """Move the root keys of the zones into the sample headers.

    Arguments
    ---------
    font : bytes
        A SoundFont 2 file.

    Returns
    -------
    font : bytes
        The same, with headers added before the last one.

    Raises
    ------
    ValueError
        If it is no SoundFont 2 file.
    """
    if font[:4] != b"RIFF" or font[8:12] != b"sfbk":
        raise ValueError(f"This is no SoundFont 2 file: it begins with {font[:12]!r}.")
    pdta = _chunks(font, 12, len(font))[b"pdta"]
    parts = _chunks(font, pdta[0] + 4, pdta[1])
    data = bytearray(font)
    start, end = parts[b"shdr"]
    headers = [font[at : at + HEADER] for at in range(start, end, HEADER)]
    given: dict[tuple[int, int], int] = {}
    for offsets in _zones(font, parts):
        if SAMPLE_ID not in offsets:
            continue
        sample = _amount(font, offsets[SAMPLE_ID])
        key = headers[sample][KEY_PLACE]
        if ROOT_KEY in offsets:
            key = _amount(font, offsets[ROOT_KEY])
        if (sample, key) not in given:
            header = bytearray(headers[sample])
            header[KEY_PLACE] = key
            given[sample, key] = len(headers) - 1
            headers.insert(-1, bytes(header))  # the last one marks the end
        struct.pack_into("<H", data, offsets[SAMPLE_ID] + 2, given[sample, key])
    grown = b"".join(headers)
    data[start:end] = grown
    for offset in (start, pdta[0], 8):  # shdr, pdta and the whole file
        (size,) = struct.unpack_from("<I", data, offset - 4)
        struct.pack_into("<I", data, offset - 4, size + len(grown) - (end - start))
    return bytes(data)


def _chunks(font: bytes, start: int, end: int) -> dict[bytes, tuple[int, int]]:
    """Return where the content of each chunk begins and ends; of LISTs by type."""
    found = {}
    while start < end:
        name, size = struct.unpack_from("<4sI", font, start)
        start += 8
        name = font[start : start + 4] if name == b"LIST" else name
        found[name] = start, start + size
        start += size + size % 2
    return found


def _zones(font: bytes, parts: dict):
    """Yield the zones of all instruments: generator -> its offset in the file."""
    (bag, bag_end), (generators, _) = parts[b"ibag"], parts[b"igen"]
    firsts = [struct.unpack_from("<H", font, at)[0] for at in range(bag, bag_end, 4)]
    for first, last in pairwise(firsts):
        offsets = range(generators + 4 * first, generators + 4 * last, 4)
        yield {struct.unpack_from("<H", font, offset)[0]: offset for offset in offsets}


def _amount(font: bytes, offset: int) -> int:
    return struct.unpack_from("<H", font, offset + 2)[0]
