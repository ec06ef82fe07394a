import pytest

from pengi_plugin.corpora.gtzan_music_speech import prepare_gtzan_music_speech


def build(tmp_path, write_audio):
    """Return the folder as the archive unpacks, with a file name in both classes."""
    folder = tmp_path / "music_speech"
    for name in ("music_wav/bagpipe", "music_wav/allison", "speech_wav/allison"):
        write_audio(folder / f"{name}.wav")
    write_audio(folder / "other" / "noise.wav")
    (folder / "speech_wav" / "broken.wav").write_text("")
    return folder


original = pytest.fixture(build)


def test_a_clip_has_the_class_of_its_folder(original, tmp_path, read_rows):
    prepare_gtzan_music_speech(original, tmp_path / "m")
    rows = read_rows(tmp_path / "m", "test")
    assert rows["speech_allison_events"] == {
        "wav": "{data_root}/speech_wav/allison.wav",
        "duration": 0.05,
        "clip": "speech_allison",
        "task": "sound_events",
        "labels": ["speech"],
    }
    assert {key: row["labels"] for key, row in rows.items()} == {
        "music_allison_events": ["music"],
        "music_bagpipe_events": ["music"],
        "speech_allison_events": ["speech"],
    }
    assert "broken.wav,empty file" in (tmp_path / "m" / "left_out.csv").read_text()


def test_shorter_names_of_the_folders_will_do(original, tmp_path, read_rows):
    for name in ("music", "speech"):
        (original / f"{name}_wav").rename(original / name)
    prepare_gtzan_music_speech(original, tmp_path / "m")
    rows = read_rows(tmp_path / "m", "test")
    assert rows["music_bagpipe_events"]["wav"] == "{data_root}/music/bagpipe.wav"


def test_a_second_preparation_does_nothing(original, tmp_path):
    prepare_gtzan_music_speech(original, tmp_path / "m")
    before = (tmp_path / "m" / "test.json").stat().st_mtime_ns
    prepare_gtzan_music_speech(original, tmp_path / "m")
    assert (tmp_path / "m" / "test.json").stat().st_mtime_ns == before


def test_a_folder_of_other_files_is_refused(original, tmp_path):
    with pytest.raises(
        FileNotFoundError, match="music_wav/ and speech_wav/ with clips"
    ):
        prepare_gtzan_music_speech(original / "other", tmp_path / "m")
