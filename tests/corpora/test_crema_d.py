from collections import Counter

import pytest

from pengi_plugin.corpora.crema_d import clip_of, prepare_crema_d
from pengi_plugin.data.preparation import read_table

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0a1b\nsize 12345\n"


def build(tmp_path, write_audio):
    """Return the repository with four listed clips, of which one is missing."""
    folder = tmp_path / "CREMA-D"
    names = ["1001_DFA_ANG_XX", "1001_IEO_HAP_LO", "1040_ITH_SAD_XX", "1091_WSI_NEU_XX"]
    for name in ("1001_DFA_ANG_XX", "1001_IEO_HAP_LO", "1040_ITH_SAD_X"):
        write_audio(folder / "AudioWAV" / f"{name}.wav")
        write_audio(folder / "AudioMP3" / f"{name}.mp3", 0.5)
    lines = [f'{index},"{name}"\r\n' for index, name in enumerate(names, start=1)]
    (folder / "SentenceFilenames.csv").write_bytes(
        ('"Stimulus_Number","Filename"\r\n' + "".join(lines)).encode()
    )
    return folder


official = pytest.fixture(build)


def test_a_clip_has_the_emotion_that_was_acted(official, tmp_path, read_rows):
    prepare_crema_d(official, tmp_path / "m")
    rows = read_rows(tmp_path / "m", "test")
    assert rows["1001_IEO_HAP_LO_emotion"] == {
        "wav": "{data_root}/AudioWAV/1001_IEO_HAP_LO.wav",
        "duration": 0.05,
        "clip": "1001_IEO_HAP_LO",
        "actor": "1001",
        "sentence": "IEO",
        "level": "LO",
        "task": "speech_emotion",
        "emotion": "happy",
    }
    assert {row["emotion"] for row in rows.values()} == {"anger", "happy", "sad"}
    assert rows["1040_ITH_SAD_XX_emotion"]["wav"].endswith("/1040_ITH_SAD_X.wav")
    lines = (tmp_path / "m" / "left_out.csv").read_text().splitlines()
    assert lines == ["wav,reason", "1091_WSI_NEU_XX,missing"]


def test_files_that_git_lfs_did_not_fetch_are_named(official, tmp_path, caplog):
    for path in (official / "AudioWAV").iterdir():
        path.write_text(POINTER)
    with pytest.raises(ValueError, match=r"No clip .* can be used for the test split"):
        prepare_crema_d(official, tmp_path / "m")
    assert "3 a Git LFS pointer instead of the file: run git lfs pull" in caplog.text


def test_a_second_preparation_does_nothing(official, tmp_path):
    prepare_crema_d(official, tmp_path / "m")
    before = (tmp_path / "m" / "test.json").stat().st_mtime_ns
    prepare_crema_d(official, tmp_path / "m")
    assert (tmp_path / "m" / "test.json").stat().st_mtime_ns == before


def test_a_folder_of_other_files_is_refused(tmp_path, write_audio):
    write_audio(tmp_path / "1001_DFA_JOY_XX.wav")
    with pytest.raises(FileNotFoundError, match=r"AudioWAV/1001_DFA_ANG_XX\.wav and"):
        prepare_crema_d(tmp_path, tmp_path / "m")


def test_the_official_list_is_read(shared):
    path = shared / "corpora/samples/crema_d/SentenceFilenames.csv"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    clips = [clip_of(line["Filename"], None) for line in read_table(path, ["Filename"])]
    counts = Counter(clip.rows["emotion"]["emotion"] for clip in clips)
    assert len(clips) == 15
    assert counts == {
        **dict.fromkeys(("anger", "fear", "happy", "sad"), 3),
        **{"disgust": 2, "neutral": 1},
    }
    assert clips[0].rows["emotion"]["emotion"] == "neutral"
