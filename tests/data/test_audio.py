"""One reader of audio: the same file is the same samples, whoever reads which part."""

import io
import logging

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from pengi_plugin.data import audio
from pengi_plugin.data.audio import (
    Recording,
    read_clip,
    read_recording,
    read_windows,
)
from pengi_plugin.data.dataset import ClipDataset
from pengi_plugin.data.resample import Resampler
from pengi_plugin.inference import AudioLanguageModel
from tests.doubles import Letters

#: Name of a file -> what soundfile is told to write.
FORMATS = {
    "a.wav": {"format": "WAV"},
    "a.flac": {"format": "FLAC"},
    "a.ogg": {"format": "OGG"},
    "a.opus": {"format": "OGG", "subtype": "OPUS"},
    "a.mp3": {"format": "MP3"},
}


@pytest.fixture
def ramp(tmp_path):
    """Ten seconds at 100 Hz, whose value is the time in tens of seconds."""
    path = tmp_path / "ramp.wav"
    soundfile.write(path, np.arange(1000) / 1000, 100, subtype="FLOAT")
    return path


def noise(n_sample, n_channel=1, seed=0):
    draw = np.random.default_rng(seed)
    return 0.1 * draw.standard_normal((n_sample, n_channel)).astype(np.float32)


def write_noise(path, seconds, rate, n_channel=1, **form):
    """Write noise in small pieces: libsndfile's OGG writer fails on large ones."""
    wav = noise(int(seconds * rate), n_channel)
    with soundfile.SoundFile(path, "w", rate, n_channel, **form) as file:
        for start in range(0, len(wav), 4800):
            file.write(wav[start : start + 4800])
    return path


def without_length(path):
    """Blank the number of samples in a FLAC header: "unknown" (RFC 9639, 8.2)."""
    content = bytearray(path.read_bytes())
    assert content[:4] == b"fLaC"
    content[21] &= 0xF0  # the number has 36 bits, of which these are the first four
    content[22:26] = bytes(4)
    path.write_bytes(content)
    return path


# The same samples everywhere


@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.7])
def test_training_and_inference_read_the_same_samples_of_a_file(
    tiny_folder, tmp_path, seconds
):
    path = write_noise(tmp_path / "a.wav", seconds, 44100, n_channel=2)
    model = AudioLanguageModel.from_hparams(tiny_folder, run_opts={"device": "cpu"})
    rate, clip_seconds = model.hparams.sample_rate, model.hparams.clip_seconds
    row = {"wav": str(path), "task": "captioning", "caption": "noise"}
    trained = ClipDataset({"a": row}, rate, clip_seconds, Letters(), "z")[0]["wav"]
    assert torch.equal(model.load_clip(path), trained)
    whole = model.load_audio(path)
    assert len(whole) == round(seconds * rate)
    repeated = whole.repeat(-(-len(trained) // len(whole)))[: len(trained)]
    assert torch.equal(repeated, trained)


@pytest.mark.parametrize("new_rate", [16000, 44100, 48000])
@pytest.mark.parametrize("name", FORMATS)
def test_a_part_of_a_recording_has_the_samples_of_the_whole(name, new_rate, tmp_path):
    rate = 48000 if name == "a.opus" else 44100
    path = write_noise(tmp_path / name, 4.0, rate, 2, **FORMATS[name])
    whole = read_recording(path, new_rate)
    n = round(0.7 * new_rate)
    assert torch.equal(read_clip(path, new_rate, n), whole[:n])
    rounding = 1.2e-7 if name == "a.mp3" else 0.0  # its decoder's, after a seek
    for offset in np.random.default_rng(0).random(20):
        start = round(offset * (len(whole) - n))
        clip = read_clip(path, new_rate, n, offset)
        torch.testing.assert_close(
            clip, whole[start : start + n], atol=rounding, rtol=0.0
        )
    windows = list(read_windows(path, new_rate, n))
    last = len(whole) - n
    assert [start for start, _ in windows] == [0, n, 2 * n, 3 * n, 4 * n, last]
    for start, wav in windows:
        assert torch.equal(wav, whole[start : start + n])


def test_behind_the_end_there_is_nothing(ramp):
    for new_rate in (100, 40):
        with Recording(ramp, new_rate) as recording:
            assert len(recording.read(recording.n_sample - 5)) == 5
            assert len(recording.read(recording.n_sample, 10)) == 0
            assert len(recording.read(recording.n_sample + 9999)) == 0


def test_a_file_object_is_read_as_a_path_is_and_messages_use_its_name(tmp_path):
    path = write_noise(tmp_path / "a.flac", 2.0, 22050)
    content = path.read_bytes()
    expected = read_recording(path, 16000)
    assert torch.equal(read_recording(io.BytesIO(content), 16000), expected)
    for offset in (0.0, 0.4):
        clip = read_clip(io.BytesIO(content), 16000, 8000, offset)
        assert torch.equal(clip, read_clip(path, 16000, 8000, offset))
    with pytest.raises(ValueError, match=r"^shard\.tar/a\.flac cannot be read"):
        Recording(io.BytesIO(b"no audio"), 16000, name="shard.tar/a.flac")


# Length


def test_a_short_recording_is_repeated_to_length(tmp_path):
    soundfile.write(tmp_path / "a.wav", [0.25, -0.5, 0.5], 100, subtype="FLOAT")
    clip = read_clip(tmp_path / "a.wav", 100, 8)
    expected = [0.25, -0.5, 0.5, 0.25, -0.5, 0.5, 0.25, -0.5]
    assert clip.tolist() == expected


@pytest.mark.parametrize(("offset", "first"), [(0.0, 0.0), (0.5, 0.4), (1.0, 0.8)])
def test_of_a_long_recording_the_part_at_the_offset_is_read(ramp, offset, first):
    clip = read_clip(ramp, 100, 200, offset)
    assert clip.shape == (200,)
    assert clip[0].item() == pytest.approx(first)
    assert clip[-1].item() == pytest.approx(first + 0.199)


@pytest.fixture
def decoded(monkeypatch):
    """Return a list of how many samples each read asks soundfile for."""
    read, lengths = soundfile.SoundFile.read, []

    def note_length(self, frames=-1, *args, **options):
        lengths.append(frames)
        return read(self, frames, *args, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", note_length)
    return lengths


def test_of_a_long_recording_little_more_than_a_clip_is_read(tmp_path, decoded):
    path = write_noise(tmp_path / "a.wav", 30.0, 44100)
    clip = read_clip(path, 16000, 16000, 0.5)
    assert len(clip) == 16000
    # A filter of 17 samples on either side, from one at which a phase begins (441).
    assert sum(decoded) <= 44100 + 2 * 17 + 441 + 1


def test_windows_keep_one_window_in_memory_and_decode_every_sample_once(
    tmp_path, decoded
):
    path = write_noise(tmp_path / "a.wav", 30.0, 44100)
    for _ in read_windows(path, 16000, 16000):
        pass
    assert max(decoded) <= 44100 + 2 * 17 + 441 + 1
    assert 30 * 44100 <= sum(decoded) <= 30 * 44100 + 200


def test_a_recording_shorter_than_a_window_is_one_window_as_it_is(ramp):
    ((start, wav),) = read_windows(ramp, 100, 5000)
    assert (start, len(wav)) == (0, 1000)


@pytest.mark.parametrize("new_rate", [44100, 16000])
def test_a_flac_without_a_declared_length_is_read_as_one_with(tmp_path, new_rate):
    path = write_noise(tmp_path / "a.flac", 4.0, 44100)
    n = new_rate
    expected = read_recording(path, new_rate)
    clips = [read_clip(path, new_rate, n, offset) for offset in (0.0, 0.3, 1.0)]
    without_length(path)
    assert soundfile.info(path).frames > 1 << 60
    assert torch.equal(read_recording(path, new_rate), expected)
    for clip, offset in zip(clips, (0.0, 0.3, 1.0), strict=True):
        assert torch.equal(read_clip(path, new_rate, n, offset), clip)
    starts = [start for start, _ in read_windows(path, new_rate, n)]
    assert starts == [0, n, 2 * n, 3 * n]
    with Recording(path, new_rate) as recording:
        assert recording.n_sample == 4 * new_rate


def test_a_file_that_ends_before_its_declared_length_is_as_long_as_it_is(
    tmp_path, caplog
):
    path = write_noise(tmp_path / "a.mp3", 4.0, 44100, **FORMATS["a.mp3"])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    whole = read_recording(path, 44100)
    with caplog.at_level(logging.WARNING):
        windows = list(read_windows(path, 44100, 44100))
    assert 1.5 < len(whole) / 44100 < 2.5
    start, wav = windows[-1]
    assert torch.equal(wav, whole[start : start + 44100])
    assert len(whole) - start - len(wav) < 4410  # else one more window
    assert "a.mp3 ends after" in caplog.text


# Channels and rates


def test_channels_are_mixed_not_joined(tmp_path):
    stereo = np.stack([np.full(100, 0.5), np.full(100, -0.25)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, 100, subtype="FLOAT")
    assert read_clip(tmp_path / "a.wav", 100, 100).unique().tolist() == [0.125]


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_another_rate_is_resampled_as_torchaudio_does_by_default(tmp_path, rate):
    wav = torch.from_numpy(noise(rate)[:, 0])
    soundfile.write(tmp_path / "a.wav", wav.numpy(), rate, subtype="FLOAT")
    expected = torchaudio.transforms.Resample(rate, 16000)(wav)
    ours = read_recording(tmp_path / "a.wav", 16000)
    assert ours.shape == expected.shape
    # Of noise at 0.1; torchaudio rounds the times of its filter to single precision.
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("rates", [(44100, 16000), (16000, 44100), (44056, 44100)])
def test_any_division_into_parts_gives_the_same_samples(rates):
    resampler = Resampler(*rates)
    wav = noise(2 * rates[0])[:, 0]
    whole = resampler(wav, 0, 0, 2 * rates[1])
    assert len(whole) == 2 * rates[1]
    cuts = np.random.default_rng(1).integers(0, len(whole), 30)
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), len(whole) + 7]):
        first, last = resampler.input_range(start, stop)
        part = resampler(wav[first:last], first, start, stop)
        assert np.array_equal(part, whole[start:stop])


def error_of_a_tone(rate, new_rate):
    """Return the largest error of 1 kHz after resampling, away from the ends."""
    resampler = Resampler(rate, new_rate)
    wav = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate).astype(np.float32)
    exact = np.sin(2 * np.pi * 1000 * np.arange(new_rate) / new_rate)
    error = np.abs(resampler(wav, 0, 0, new_rate) - exact)
    return error[500:-500].max(), len(resampler.taps)


@pytest.mark.parametrize("new_rate", [44100, 16000])
def test_an_odd_rate_costs_little_and_is_as_exact_as_a_usual_one(new_rate):
    error, n_tap = error_of_a_tone(44056, new_rate)
    usual, _ = error_of_a_tone(48000, new_rate)
    assert error < 1e-3  # -60 dB: the filter's ripple
    assert error < 1.5 * usual
    # torchaudio's bank for 44,056 to 44,100 Hz has 11,025 rows of 11,028.
    assert n_tap < 150_000


def test_a_sampling_rate_that_cannot_be_is_refused(tmp_path):
    path = write_noise(tmp_path / "a.wav", 0.1, 8000)
    content = bytearray(path.read_bytes())
    content[24:28] = (2_000_000_000).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.wav has a sampling rate of .* Hz; the"):
        read_clip(path, 16000, 16000)


# Files that cannot be used


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused_with_the_files_name(tmp_path, value):
    wav = noise(1000)
    wav[750] = value
    path = tmp_path / "a.wav"
    soundfile.write(path, wav, 100, subtype="FLOAT")
    message = r"a\.wav has samples that are NaN or infinite, .* at 7\.500 s"
    with pytest.raises(ValueError, match=message):
        read_recording(path, 100)
    with pytest.raises(ValueError, match=message):
        read_clip(path, 50, 100, offset=0.9)
    assert len(read_clip(path, 50, 100)) == 100  # of its beginning nothing is wrong


def test_a_file_that_is_no_audio_is_named(tmp_path):
    (tmp_path / "a.wav").write_text("no audio")
    message = r"a\.wav cannot be read as audio .*with ffmpeg, AAC"
    with pytest.raises(ValueError, match=message):
        read_clip(tmp_path / "a.wav", 100, 100)


def test_a_file_without_samples_is_named(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 100)
    for offset in (0.0, 0.5):
        with pytest.raises(ValueError, match=r"a\.wav holds no samples; leave it out"):
            read_clip(tmp_path / "a.wav", 100, 100, offset)
    with pytest.raises(ValueError, match=r"a\.wav holds no samples; leave it out"):
        list(read_windows(tmp_path / "a.wav", 100, 100))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no file .*absent\.wav"):
        read_clip(tmp_path / "absent.wav", 100, 100)


def test_a_flac_that_is_cut_off_is_named_where_it_cannot_be_decoded(tmp_path):
    path = write_noise(tmp_path / "a.flac", 4.0, 44100)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert len(read_clip(path, 16000, 16000)) == 16000
    with pytest.raises(ValueError, match=r"a\.flac cannot be read as audio"):
        read_recording(path, 16000)


@pytest.mark.parametrize("has_length", [True, False])
def test_no_more_is_decoded_than_tells_that_a_recording_is_too_long(
    tmp_path, monkeypatch, has_length
):
    path = tmp_path / "silence.flac"
    soundfile.write(path, np.zeros(800_000), 8000)
    if not has_length:
        content = bytearray(path.read_bytes())
        content[21] &= 0xF0  # 36 bits of STREAMINFO: the number of samples
        content[22:26] = bytes(4)
        path.write_bytes(content)
    n_read = 0

    def read(self, frames, **options):
        nonlocal n_read
        n_read += frames
        return soundfile.SoundFile.read(self, frames, **options)

    monkeypatch.setattr(audio, "BLOCK", 8000)
    monkeypatch.setattr(audio.SequentialFile, "read", read, raising=False)
    with Recording(path, 16000) as recording:
        assert recording.lasts_longer(10)
        assert n_read <= 88_000
        assert not recording.lasts_longer(100)
        assert recording.n_sample == 1_600_000
        assert recording.lasts_longer(99.99)
