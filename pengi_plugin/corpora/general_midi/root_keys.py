"""Give every sample of a sound font its root key: SoundFont 2 bytes in and out.

A zone of an instrument may say that its sample was recorded at another key than the
sample's own header says (generator 58, overridingRootKey). ``symusic`` 0.5.8 reads
the header only, and so plays a piano's middle C as A flat, two octaves up. Here the
keys of the zones are written into the headers; a sample that zones give several keys
gets a header for each.

Format: *SoundFont Technical Specification 2.04*, Creative Technology, 2006.
"""

import struct

from pengi_plugin.corpora.general_midi.soundfont_file import (
    HEADER,
    SAMPLE_ID,
    amount,
    find_parts,
    zones,
)

ROOT_KEY = 58

#: Offset of the root key in a sample header.
KEY_OFFSET = 40


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
    parts = find_parts(font)
    data = bytearray(font)
    start, end = parts[b"shdr"]
    headers = [font[at : at + HEADER] for at in range(start, end, HEADER)]
    given: dict[tuple[int, int], int] = {}
    for offsets in zones(font, parts):
        if SAMPLE_ID not in offsets:
            continue
        sample = amount(font, offsets[SAMPLE_ID])
        key = headers[sample][KEY_OFFSET]
        if ROOT_KEY in offsets:
            key = amount(font, offsets[ROOT_KEY])
        if (sample, key) not in given:
            header = bytearray(headers[sample])
            header[KEY_OFFSET] = key
            given[sample, key] = len(headers) - 1
            headers.insert(-1, bytes(header))  # the last one marks the end
        struct.pack_into("<H", data, offsets[SAMPLE_ID] + 2, given[sample, key])
    grown = b"".join(headers)
    data[start:end] = grown
    for offset in (start, parts[b"pdta"][0], 8):  # shdr, pdta and the whole file
        (size,) = struct.unpack_from("<I", data, offset - 4)
        struct.pack_into("<I", data, offset - 4, size + len(grown) - (end - start))
    return bytes(data)
