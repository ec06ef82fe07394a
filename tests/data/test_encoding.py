"""Any audio file in, a clip's bytes out: exact at its rate, the same at any time."""

import hashlib
import time

import numpy as np
import pytest
import soundfile

from pengi_plugin.data.audio import read_recording
from pengi_plugin.data.encoding import encode

#: Container, subtype and rate of the sources, and what FLAC and WAV make of them.
SOURCES = {
    ("WAV", "PCM_U8", 44100): (".flac", ".wav"),
    ("WAV", "PCM_16", 44100): (".flac", ".wav"),
    ("WAV", "PCM_24", 44100): (".flac", ".wav"),
    ("WAV", "PCM_32", 44100): (".wav", ".wav"),
    ("WAV", "FLOAT", 44100): (".wav", ".wav"),
    ("WAV", "DOUBLE", 44100): (".wav", ".wav"),
    ("WAV", "ULAW", 8000): (".wav", ".wav"),
    ("AIFF", "PCM_16", 22050): (".flac", ".wav"),
    ("FLAC", "PCM_16", 44100): (".flac", ".wav"),
    ("OGG", "VORBIS", 44100): (".ogg", ".wav"),
    ("OGG", "OPUS", 48000): (".opus", ".wav"),
    ("MP3", "MPEG_LAYER_III", 44100): (".mp3", ".wav"),
}


@pytest.fixture(params=list(SOURCES), ids=lambda source: "-".join(map(str, source)))
def source(request, tmp_path):
    """Return a stereo file of each kind, and the endings of its clips."""
    container, subtype, rate = request.param
    path = tmp_path / "clip"
    noise = 0.2 * np.random.default_rng(0).standard_normal((30001, 2))
    soundfile.write(path, noise, rate, subtype, format=container)
    return str(path), rate, SOURCES[request.param]


def test_at_the_files_rate_every_format_that_loses_nothing_holds_the_same_samples(
    source,
):
    path, rate, (as_flac, as_wav) = source
    expected = read_recording(path, 16000)
    for form, suffix in ((None, None), ("flac", as_flac), ("wav", as_wav)):
        clip = encode(path, form)
        assert suffix in (None, clip.suffix)
        assert (clip.frames, clip.sample_rate, clip.n_clipped) == (30001, rate, 0)
        data = clip.file.read()
        assert len(data) == clip.size
        assert clip.sha256 == hashlib.sha256(data).hexdigest()
        assert read_recording(clip.file, 16000).equal(expected)


def test_at_another_rate_wav_holds_the_readers_samples_and_flac_rounds_them(source):
    path, *_ = source
    expected = read_recording(path, 16000)
    clip = encode(path, "wav", 16000)
    assert (clip.frames, clip.sample_rate) == (len(expected), 16000)
    assert read_recording(clip.file, 16000).equal(expected)
    clip = encode(path, "flac", 16000)
    step = {"PCM_16": 2.0**-15, "PCM_24": 2.0**-23}[soundfile.info(clip.file).subtype]
    clip.file.seek(0)
    error = (read_recording(clip.file, 16000) - expected).abs().max()
    assert 0 < error <= 0.5 * step
    assert encode(path, None, 16000).sha256 == clip.sha256


def test_flac_has_24_bits_where_the_file_has_more_than_16(tmp_path):
    for subtype, expected in (("PCM_16", "PCM_16"), ("FLOAT", "PCM_24")):
        path = tmp_path / f"{subtype}.wav"
        soundfile.write(path, np.zeros(1000) + 0.1, 8000, subtype)
        assert soundfile.info(encode(str(path), "flac", 16000).file).subtype == expected


@pytest.mark.parametrize(
    ("form", "rate"), [("wav", None), ("wav", 16000), ("opus", 48000), ("flac", 8000)]
)
def test_the_same_file_gives_the_same_bytes_later(tmp_path, monkeypatch, form, rate):
    path = str(tmp_path / "clip.ogg")
    soundfile.write(path, np.random.default_rng(1).uniform(-1, 1, 9000), 44100)
    first = encode(path, form, rate)
    time.sleep(1.1)  # WAV holds the second of writing, Opus a random number
    assert encode(path, form, rate).file.read() == first.file.read()


def test_opus_is_read_at_its_length_and_sounds_alike(tmp_path):
    path = str(tmp_path / "clip.wav")
    wave = 0.5 * np.sin(np.arange(44100) * 0.06)
    soundfile.write(path, wave, 44100)
    clip = encode(path, "opus", 48000)
    assert (clip.suffix, clip.sample_rate, clip.frames) == (".opus", 48000, 48000)
    heard, expected = read_recording(clip.file, 16000), read_recording(path, 16000)
    assert len(heard) == len(expected)
    assert np.corrcoef(heard[1000:-1000], expected[1000:-1000])[0, 1] > 0.99


def test_samples_beyond_full_scale_are_cut_and_counted_in_flac_and_kept_in_wav(
    tmp_path,
):
    path = str(tmp_path / "loud.wav")
    soundfile.write(path, np.tile([0.99, 0.99, -0.99, -0.99], 2000), 16000, "FLOAT")
    expected = read_recording(path, 22050)
    n_beyond = int((expected.double().abs() > 1).sum())
    assert n_beyond > 100
    clip = encode(path, "flac", 22050)
    assert clip.n_clipped == n_beyond
    assert (read_recording(clip.file, 22050) - expected.clamp(-1, 1)).abs().max() < 1e-6
    assert read_recording(encode(path, "wav", 22050).file, 22050).equal(expected)


def test_a_long_recording_is_encoded_in_little_memory(tmp_path, monkeypatch):
    from pengi_plugin.data import audio, encoding

    monkeypatch.setattr(encoding, "BLOCK", 1000)
    monkeypatch.setattr(audio, "BLOCK", 1000)
    path = str(tmp_path / "long.flac")
    soundfile.write(path, np.random.default_rng(1).uniform(-1, 1, 50001), 44100)
    whole = read_recording(path, 16000)
    assert read_recording(encode(path, "wav", 16000).file, 16000).equal(whole)
    clip = encode(path, "wav")
    assert read_recording(clip.file, 16000).equal(whole)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"no audio", "not readable"), (b"", "empty file"), (None, "missing")],
)
def test_a_file_that_is_no_audio_has_a_reason(tmp_path, content, reason):
    path = tmp_path / "bad.wav"
    if content is not None:
        path.write_bytes(content)
    error = FileNotFoundError if content is None else ValueError
    with pytest.raises(error, match=reason):
        encode(str(path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("mp3", None), "format must be one of .* got 'mp3'"),
        (("flac", 0), "sample_rate must be 1 to 655350 Hz; got 0"),
        (("opus", None), "Opus has the rates 8000, .* got sample_rate=None"),
        (("opus", 44100), "got sample_rate=44100"),
    ],
)
def test_what_cannot_be_stored_is_refused(options, message):
    from pengi_plugin.data.encoding import check_options

    with pytest.raises(ValueError, match=message):
        check_options(*options)


def test_a_file_that_is_damaged_in_its_middle_has_a_reason(tmp_path):
    path = tmp_path / "damaged.flac"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(80000), 8000)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"not readable to its end: .*lost sync"):
        encode(str(path), "wav")
