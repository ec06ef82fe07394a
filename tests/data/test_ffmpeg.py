"""What ffmpeg decodes: the samples of the same WAV, in whole and in parts."""

import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from pengi_plugin.data import ffmpeg
from pengi_plugin.data.audio import Recording, read_clip, read_recording, read_windows
from pengi_plugin.data.manifest import check_audio

RATE = 22050

needs_ffmpeg = pytest.mark.skipif(
    ffmpeg.find_ffmpeg() is None, reason=f"needs ffmpeg: {ffmpeg.INSTALL}"
)


@pytest.fixture(scope="module")
def wav(tmp_path_factory):
    """Return a stereo WAV file of 2.3 s."""
    path = tmp_path_factory.mktemp("sounds") / "sound.wav"
    draw = np.random.default_rng(0)
    time = np.arange(int(2.3 * RATE)) / RATE
    wave = 0.4 * np.sin(2 * np.pi * 440 * time)[:, None]
    soundfile.write(path, wave + 0.05 * draw.standard_normal((len(time), 2)), RATE)
    return path


@pytest.fixture(scope="module")
def coded(wav):
    """Return a function: name and options of a coder -> the sound in that form."""

    def make(name, *options):
        path = wav.with_name(name)
        words = [ffmpeg.find_ffmpeg(), "-v", "error", "-y", "-i", wav, *options, path]
        subprocess.run(list(map(str, words)), check=True)
        return path

    return make


@needs_ffmpeg
@pytest.mark.parametrize("new_rate", [RATE, 16000])
def test_a_lossless_format_has_the_samples_of_the_wav_file(wav, coded, new_rate):
    path = coded("lossless.m4a", "-c:a", "alac")
    whole = read_recording(wav, new_rate)
    assert torch.equal(read_recording(path, new_rate), whole)
    n = new_rate // 2
    for offset in (0.0, 0.4, 1.0):
        expected = read_clip(wav, new_rate, n, offset)
        assert torch.equal(read_clip(path, new_rate, n, offset), expected)
    windows = read_windows(path, new_rate, n, n_overlap=n // 4)
    expected = read_windows(wav, new_rate, n, n_overlap=n // 4)
    for (start, part), (other, same) in zip(windows, expected, strict=True):
        assert start == other
        assert torch.equal(part, same)


@needs_ffmpeg
def test_a_check_of_files_decodes_them_and_finds_what_is_cut_off(wav, coded):
    assert check_audio(coded("lossless.m4a", "-c:a", "alac")) == (
        pytest.approx(2.3, abs=1e-3),
        "",
    )
    path = coded("whole.mka", "-c:a", "flac")
    assert check_audio(path, 2.3)[1] == ""
    assert "lasts 2.3" in check_audio(path, 4.0)[1]
    cut = path.with_name("cut.m4a")
    content = coded("sound.m4a", "-c:a", "aac", "-movflags", "faststart").read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    seconds, reason = check_audio(cut)
    assert seconds == 0.0
    assert "cannot be decoded by ffmpeg" in reason


def test_a_check_of_files_without_ffmpeg_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(ffmpeg, "find_ffmpeg", lambda: None)
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0 ftypM4A " + bytes(64))
    assert "needs ffmpeg to be decoded: install" in check_audio(tmp_path / "a.m4a")[1]


@needs_ffmpeg
def test_parts_in_any_order_and_file_objects_hold_the_same_samples(wav, coded):
    path = coded("sound.m4a", "-c:a", "aac")
    whole = read_recording(path, 16000)
    assert abs(len(whole) / 16000 - 2.3) < 0.1
    with Recording(io.BytesIO(path.read_bytes()), 16000, "a tar's member") as recording:
        for start in (30000, 0, 12345, 12000, 20000):
            part = recording.read(start, 4000)
            assert torch.equal(part, whole[start : start + 4000])
    # AAC changes the samples, not the sound.
    lossless = read_recording(wav, 16000)
    error = (whole[: len(lossless)] - lossless)[2000:-2000]
    assert error.pow(2).mean().sqrt() < 0.2 * lossless.pow(2).mean().sqrt()


@needs_ffmpeg
@pytest.mark.parametrize("name", ["sound.aac", "sound.mka", "sound.wma", "sound.mp4"])
def test_other_forms_are_decoded_too(coded, name):
    assert abs(len(read_recording(coded(name), 16000)) / 16000 - 2.3) < 0.2


@needs_ffmpeg
def test_a_damaged_file_is_named_where_it_cannot_be_decoded(coded):
    path = coded("whole.m4a", "-c:a", "aac", "-movflags", "+faststart")
    content = path.read_bytes()
    cut = path.with_name("cut.m4a")
    cut.write_bytes(content[: 2 * len(content) // 3])
    message = r"cut\.m4a cannot be decoded by ffmpeg \("
    with pytest.raises(ValueError, match=message):
        read_recording(cut, 16000)
    with Recording(cut, 16000) as recording:
        assert len(recording.read(0, 8000)) == 8000
    cut.write_bytes(content[:600])
    with pytest.raises(ValueError, match=r"cut\.m4a cannot be decoded by ffmpeg"):
        read_recording(cut, 16000)


@needs_ffmpeg
def test_a_list_of_other_files_is_not_followed(coded):
    secret = coded("secret.m4a", "-c:a", "aac")
    path = secret.with_name("list.m4a")
    path.write_text(f"ffconcat version 1.0\nfile {secret.name}\n")
    words = [ffmpeg.find_ffmpeg(), "-v", "error", "-i", path, "-f", "null", "-"]
    subprocess.run(list(map(str, words)), check=True)  # ffmpeg would follow it
    with pytest.raises(ValueError, match=r"list\.m4a cannot be read as audio"):
        read_recording(path, 16000)
    with pytest.raises(ValueError, match=r"list\.m4a cannot be decoded by ffmpeg"):
        ffmpeg.FfmpegFile(str(path), str(path))


@needs_ffmpeg
def test_no_program_is_left_when_a_file_is_read_in_part(coded):
    path = coded("long.m4a", "-af", "aloop=50:50000", "-c:a", "aac")
    file = ffmpeg.FfmpegFile(str(path), str(path))
    process = file._process
    assert len(file.read(100)) == 100
    assert process.poll() is None
    file.close()
    assert process.poll() is not None


def test_without_the_program_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    path = tmp_path / "a.m4a"
    path.write_bytes(b"\x00\x00\x00\x20ftypM4A ")
    message = r"a\.m4a needs ffmpeg to be decoded: .*pengi-plugin\[m4a\]"
    with pytest.raises(ValueError, match=message):
        read_recording(path, 16000)


def test_the_program_of_the_extra_is_taken_where_the_system_has_none(monkeypatch):
    extra = pytest.importorskip("imageio_ffmpeg", reason="needs the extra m4a")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert ffmpeg.find_ffmpeg() == extra.get_ffmpeg_exe()
    assert Path(ffmpeg.find_ffmpeg()).is_file()
