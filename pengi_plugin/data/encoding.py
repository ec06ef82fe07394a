"""An audio file in, the bytes of a clip in a chosen format and rate out.

The same file gives the same bytes at any time. At the file's own rate nothing is lost
in FLAC and WAV: a file that the format cannot hold exactly is kept as it is. At another
rate, clips are mixed to mono and resampled as the reader does it (``data.resample``);
WAV then holds the very samples, and FLAC rounds them to 16 bits, or to 24 where the
file has more than 16.
"""

import hashlib
import io
import tempfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile

from pengi_plugin.data.audio import BLOCK, Recording, SequentialFile
from pengi_plugin.data.manifest import check_audio

#: Formats that clips can be stored in.
FORMATS = ("flac", "opus", "wav")

#: Rates that Opus has, in Hz.
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)

#: Format -> libsndfile's name of the container, its subtypes.
CONTAINERS = {"flac": "FLAC", "opus": "OGG", "wav": "WAV"}

#: Integer subtypes -> their bits.
BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}

#: The highest rate and number of channels of FLAC.
FLAC_RATE, FLAC_CHANNELS = 655_350, 8

#: Bytes of an encoded clip that are kept in memory; more go to a temporary file.
IN_MEMORY = 8 << 20

#: The largest WAV whose length its header can hold.
LARGEST_WAV = 2**32 - 1


class Encoded(NamedTuple):
    """A clip's bytes and what they are."""

    file: BinaryIO
    suffix: str  # with its dot
    size: int
    frames: int
    sample_rate: int
    n_clipped: int
    sha256: str


class Plan(NamedTuple):
    """How a file is written: container, subtype, and in which type it is read."""

    suffix: str
    container: str
    subtype: str
    dtype: str


def check_options(format: str | None, sample_rate: int | None) -> None:
    """Raise ValueError if clips cannot be stored so."""
    if format not in (None, *FORMATS):
        raise ValueError(f"format must be one of {FORMATS}; got {format!r}.")
    if sample_rate is not None and not 1 <= sample_rate <= FLAC_RATE:
        raise ValueError(f"sample_rate must be 1 to {FLAC_RATE} Hz; got {sample_rate}.")
    if format == "opus" and sample_rate not in OPUS_RATES:
        raise ValueError(
            f"Opus has the rates {', '.join(map(str, OPUS_RATES))} Hz; got "
            f"sample_rate={sample_rate}. Give one of them."
        )


def encode(
    path: str,
    format: str | None = None,
    sample_rate: int | None = None,
    folder: str | None = None,
) -> Encoded:
    """Return the bytes of a clip.

    Arguments
    ---------
    path : str
        Audio file.
    format : str
        One of ``FORMATS``; None: the file's bytes as they are, or FLAC where it is
        resampled.
    sample_rate : int
        In Hz; None: the file's.
    folder : str
        Where a long clip's temporary file lies; by default where the system has them.

    Returns
    -------
    encoded : Encoded

    Raises
    ------
    OSError, ValueError
        If the file cannot be read; says why.
    """
    _, reason = check_audio(path)
    if reason == "missing":
        raise FileNotFoundError(reason)
    if reason:
        raise ValueError(reason)
    with Recording(path, None) as recording:
        n_frame, rate = recording.n_sample, recording.rate
    with soundfile.SoundFile(path) as file:
        plan = _plan(file, format, sample_rate)
        suffix = _suffix_of(file)
    target = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=folder)  # noqa: SIM115
    n_clipped = 0
    if plan is None:
        with open(path, "rb") as source:
            while block := source.read(1 << 20):
                target.write(block)
    elif sample_rate in (None, rate):
        _copy_samples(path, plan, target)
    else:
        n_frame, n_clipped = _resample(path, plan, sample_rate, target)
        rate = sample_rate
    if plan is not None:
        suffix = plan.suffix
        _make_repeatable(target, plan.container)
    target.seek(0, io.SEEK_END)
    size = target.tell()
    if suffix == ".wav" and size > LARGEST_WAV:
        raise ValueError(f"is too long for WAV ({size} bytes); give --format flac")
    digest = _digest(target)
    return Encoded(target, suffix, size, n_frame, rate, n_clipped, digest)


def _suffix_of(file: soundfile.SoundFile) -> str:
    """Return the usual ending of a file's format, whatever its name ends in."""
    if file.subtype == "OPUS":
        return ".opus"
    if file.format in ("MPEG", "MP3"):
        return ".mp3"
    return {"WAVEX": ".wav"}.get(file.format, f".{file.format.lower()}")


def _plan(
    file: soundfile.SoundFile, format: str | None, sample_rate: int | None
) -> Plan | None:
    """Return how a file is written; None: kept as it is."""
    subtype, bits = file.subtype, BITS.get(file.subtype)
    if sample_rate not in (None, file.samplerate):
        return {
            "wav": Plan(".wav", "WAV", "FLOAT", "float32"),
            "opus": Plan(".opus", "OGG", "OPUS", "float32"),
        }.get(format) or (
            Plan(".flac", "FLAC", "PCM_24", "int32")
            if (bits or 0) > 16 or subtype in ("FLOAT", "DOUBLE")
            else Plan(".flac", "FLAC", "PCM_16", "int16")
        )
    if format is None:
        return None
    if format == "opus":
        if subtype == "OPUS":
            return None
        return Plan(".opus", "OGG", "OPUS", "float32")
    if file.format == CONTAINERS[format] or (format, file.format) == ("wav", "WAVEX"):
        return None
    if format == "flac":
        fits = file.samplerate <= FLAC_RATE and file.channels <= FLAC_CHANNELS
        if bits is None or bits > 24 or not fits:
            return None
        return Plan(".flac", "FLAC", f"PCM_{'S8' if bits == 8 else bits}", "int32")
    if bits:
        return Plan(".wav", "WAV", f"PCM_{'U8' if bits == 8 else bits}", "int32")
    if subtype == "DOUBLE":
        return Plan(".wav", "WAV", "DOUBLE", "float64")
    return Plan(".wav", "WAV", "FLOAT", "float32")


def _copy_samples(path: str, plan: Plan, target: BinaryIO) -> None:
    """Write all channels of a file at its rate, a block at a time."""
    with (
        SequentialFile(path) as source,
        _writer(target, plan, source.samplerate, source.channels) as sink,
    ):
        while len(frames := _read(source, plan.dtype)):
            sink.write(frames)


def _read(source: SequentialFile, dtype: str) -> np.ndarray:
    try:
        return source.read(BLOCK, dtype=dtype, always_2d=True)
    except soundfile.LibsndfileError as error:  # a RuntimeError
        raise ValueError(f"not readable to its end: {error.error_string}") from error


def _resample(
    path: str, plan: Plan, sample_rate: int, target: BinaryIO
) -> tuple[int, int]:
    """Write a file as mono at a rate; return its frames and how many were cut."""
    n_frame = n_clipped = 0
    with (
        Recording(path, sample_rate) as recording,
        _writer(target, plan, sample_rate, 1) as sink,
    ):
        for wav in _blocks(recording):
            wav = wav.astype(np.float64)
            n_frame += len(wav)
            if plan.dtype == "float32":
                sink.write(wav.astype(np.float32))
                continue
            n_clipped += int((np.abs(wav) > 1).sum())
            sink.write(_rounded(wav, plan))
    return n_frame, n_clipped


def _blocks(recording: Recording) -> Iterator[np.ndarray]:
    start = 0
    while len(wav := recording.read(start, BLOCK).numpy()):
        yield wav
        start += len(wav)


def _rounded(wav: np.ndarray, plan: Plan) -> np.ndarray:
    """Return the nearest integer samples, as libsndfile wants them."""
    bits = BITS[plan.subtype]
    full = 1 << (bits - 1)
    whole = np.clip(np.rint(wav * full), -full, full - 1)
    if plan.dtype == "int16":
        return whole.astype(np.int16)
    return whole.astype(np.int32) << (32 - bits)


def _writer(target, plan: Plan, sample_rate: int, n_channel: int):
    return soundfile.SoundFile(
        target,
        "w",
        samplerate=sample_rate,
        channels=n_channel,
        format=plan.container,
        subtype=plan.subtype,
    )


def _digest(file: BinaryIO) -> str:
    """Return the SHA-256 of a file; its position is then at the beginning."""
    found = hashlib.sha256()
    file.seek(0)
    while block := file.read(1 << 20):
        found.update(block)
    file.seek(0)
    return found.hexdigest()


def _make_repeatable(file: BinaryIO, container: str) -> None:
    """Take out of a file what differs from one encoding to the next."""
    if container == "WAV":
        _clear_time(file)
    elif container == "OGG":
        _clear_serial(file)


def _clear_time(file: BinaryIO) -> None:
    """Set the time in the PEAK chunk of a WAV file to 0: chunks are an ID, a length
    and as many bytes, an even number; PEAK has a version and a time."""
    file.seek(12)
    while len(head := file.read(8)) == 8 and head[:4] != b"data":
        length = int.from_bytes(head[4:], "little")
        if head[:4] == b"PEAK":
            file.seek(4, io.SEEK_CUR)
            file.write(bytes(4))
            return
        file.seek(length + length % 2, io.SEEK_CUR)


def _clear_serial(file: BinaryIO) -> None:
    """Set the stream's number in all pages of an Ogg file to 0 (RFC 3533: bytes 14
    to 17 of a page; 22 to 25 hold its checksum, 26 the number of its segments)."""
    position = 0
    while True:
        file.seek(position)
        page = bytearray(file.read(27))
        if len(page) < 27:
            return
        page += file.read(page[26])
        page += file.read(sum(page[27:]))
        page[14:18] = page[22:26] = bytes(4)
        page[22:26] = ogg_checksum(bytes(page)).to_bytes(4, "little")
        file.seek(position)
        file.write(page)
        position += len(page)


#: Byte -> the byte with its bits in reverse order.
REVERSED = bytes(int(f"{n:08b}"[::-1], 2) for n in range(256))


def ogg_checksum(page: bytes) -> int:
    """Return the checksum of an Ogg page: zlib's polynomial, bits in the other order,
    from 0 on.

    Example
    -------
    >>> hex(ogg_checksum(b"\\x01"))  # the polynomial itself
    '0x4c11db7'
    """
    found = zlib.crc32(page.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(found.to_bytes(4, "little").translate(REVERSED), "big")
