from collections import Counter

import pytest

from pengi_plugin.corpora.ravdess import clip_of, names, prepare_ravdess


def build(tmp_path, write_audio):
    """Return a copy with the tree in it twice, and a song beside the speech."""
    folder = tmp_path / "ravdess"
    for tree in ("", "audio_speech_actors_01-24/"):
        for name in ("03-01-06-02-02-01-12", "03-01-01-01-01-02-12"):
            write_audio(folder / f"{tree}Actor_12" / f"{name}.wav")
    write_audio(folder / "Actor_12" / "03-02-06-02-02-01-12.wav")
    return folder


official = pytest.fixture(build)


def test_a_clip_has_what_its_name_says(official, tmp_path, read_rows):
    prepare_ravdess(official, tmp_path / "m")
    rows = read_rows(tmp_path / "m", "test")
    assert rows["03-01-06-02-02-01-12_emotion"] == {
        "wav": "{data_root}/Actor_12/03-01-06-02-02-01-12.wav",
        "duration": 0.05,
        "clip": "03-01-06-02-02-01-12",
        "intensity": "strong",
        "statement": "Dogs are sitting by the door",
        "actor": "12",
        "gender": "female",
        "task": "speech_emotion",
        "emotion": "fearful",
    }
    assert len(rows) == 2
    lines = (tmp_path / "m" / "left_out.csv").read_text().splitlines()
    assert len(lines) == 1 + 1438
    assert "03-01-08-02-02-02-24,missing" in lines


def test_all_emotions_but_neutral_are_as_frequent():
    counts = Counter(clip_of(name, None).rows["emotion"]["emotion"] for name in names())
    assert counts.pop("neutral") == 96
    assert set(counts.values()) == {192}
    assert len(counts) == 7


def test_a_second_preparation_does_nothing(official, tmp_path):
    prepare_ravdess(official, tmp_path / "m")
    before = (tmp_path / "m" / "test.json").stat().st_mtime_ns
    prepare_ravdess(official, tmp_path / "m")
    assert (tmp_path / "m" / "test.json").stat().st_mtime_ns == before


def test_a_folder_of_song_is_refused(tmp_path, write_audio):
    write_audio(tmp_path / "Actor_01" / "03-02-06-02-02-01-01.wav")
    with pytest.raises(FileNotFoundError, match="Actor_01/03-01-01-01-01-01-01"):
        prepare_ravdess(tmp_path, tmp_path / "m")
