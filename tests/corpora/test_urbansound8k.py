import shutil

import pytest

from pengi_plugin.corpora.urbansound8k import prepare_urbansound8k

HEAD = "slice_file_name,fsID,start,end,salience,fold,classID,class\n"
LINES = (
    "100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark\n"
    "7-9-0-1.wav,7,0,4,2,10,9,street_music\n"
    "8-6-0-0.wav,8,0,1,1,1,6,gun_shot\n"
)


def build(tmp_path, write_audio):
    """Three listed clips, one of them cut off, and a file manager's traces."""
    folder = tmp_path / "UrbanSound8K"
    (folder / "metadata").mkdir(parents=True)
    (folder / "metadata" / "UrbanSound8K.csv").write_text(HEAD + LINES)
    for path in ("fold5/100032-3-0-0", "fold10/7-9-0-1", "fold1/8-6-0-0"):
        write_audio(folder / "audio" / f"{path}.wav")
    cut = folder / "audio" / "fold1" / "8-6-0-0.wav"
    cut.write_bytes(cut.read_bytes()[:200])
    (folder / "audio" / "fold5" / ".DS_Store").write_bytes(b"x")
    (folder / "audio" / "fold5" / "._100032-3-0-0.wav").write_bytes(b"x")
    return folder


official = pytest.fixture(build)


def test_all_clips_are_for_the_test_with_their_folds(official, tmp_path, read_rows):
    prepare_urbansound8k(official, tmp_path / "m")
    rows = read_rows(tmp_path / "m", "test")
    assert rows["100032-3-0-0_events"] == {
        "wav": "{data_root}/audio/fold5/100032-3-0-0.wav",
        "duration": 0.05,
        "clip": "100032-3-0-0",
        "fold": 5,
        "source": "freesound:100032",
        "task": "sound_events",
        "labels": ["dog bark"],
    }
    assert rows["7-9-0-1_events"]["labels"] == ["street music"]
    assert len(rows) == 2
    assert "8-6-0-0.wav,truncated after" in (tmp_path / "m/left_out.csv").read_text()


def test_a_copy_without_the_two_folders_gives_the_same(official, tmp_path, read_rows):
    prepare_urbansound8k(official, tmp_path / "m")
    (official / "metadata" / "UrbanSound8K.csv").rename(official / "UrbanSound8K.csv")
    for folder in sorted((official / "audio").iterdir()):
        shutil.move(folder, official)
    prepare_urbansound8k(official, tmp_path / "n")
    old, new = (read_rows(tmp_path / name, "test") for name in "mn")
    for row in old.values():
        row["wav"] = row["wav"].replace("audio/", "")
    assert old == new


def test_a_wrong_folder_and_a_foreign_class_are_refused(official, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no UrbanSound8K\.csv in"):
        prepare_urbansound8k(tmp_path / "elsewhere", tmp_path / "m")
    (official / "metadata" / "UrbanSound8K.csv").write_text(
        HEAD + LINES.replace("gun_shot", "gun")
    )
    with pytest.raises(ValueError, match=r"8-6-0-0\.wav has the class 'gun'"):
        prepare_urbansound8k(official, tmp_path / "m")


def test_a_second_preparation_does_nothing(official, tmp_path):
    prepare_urbansound8k(official, tmp_path / "m")
    before = (tmp_path / "m" / "test.json").stat().st_mtime_ns
    prepare_urbansound8k(official, tmp_path / "m")
    assert (tmp_path / "m" / "test.json").stat().st_mtime_ns == before


def test_the_real_first_rows_are_read(shared, tmp_path, write_audio, read_rows):
    folder = shared / "corpora" / "samples" / "urbansound8k"
    shutil.copytree(folder, tmp_path / "copy")
    write_audio(tmp_path / "copy" / "audio" / "fold5" / "100263-2-0-117.wav")
    prepare_urbansound8k(tmp_path / "copy", tmp_path / "m")
    (row,) = read_rows(tmp_path / "m", "test").values()
    assert (row["labels"], row["fold"]) == (["children playing"], 5)
    left_out = (tmp_path / "m" / "left_out.csv").read_text().splitlines()
    assert len(left_out) == 1 + 14  # 15 rows are in the sample
