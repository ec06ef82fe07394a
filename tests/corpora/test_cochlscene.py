import pytest

from pengi_plugin.corpora.cochlscene import CLASSES, prepare_cochlscene

TRAIN = "{data_root}/CochlScene/CochlScene/Train"
NAME = "SubwayStation_user0807_14976869_001"


def build(tmp_path, write_audio):
    """The folder twice below the one given, and a file of a file manager."""
    root = tmp_path / "CochlScene" / "CochlScene"
    write_audio(root / "Train" / "SubwayStation" / f"{NAME}.wav")
    write_audio(root / "Val" / "Bus" / "Bus_user0802_14892039_004.wav")
    write_audio(root / "Test" / "Cafe" / "Cafe_user0802_14892039_004.wav")
    (root / "Test" / "Cafe" / "._Cafe_user0802_14892039_004.wav").write_bytes(b"x")
    return tmp_path


official = pytest.fixture(build)


def test_folders_tell_the_split_and_the_scene(official, tmp_path, read_rows):
    prepare_cochlscene(official, tmp_path / "m")
    assert read_rows(tmp_path / "m", "train") == {
        f"{NAME}_scene": {
            "wav": f"{TRAIN}/SubwayStation/{NAME}.wav",
            "duration": 0.05,
            "clip": NAME,
            "task": "acoustic_scene",
            "scene": "subway station",
        }
    }
    for split, scene in (("valid", "bus"), ("test", "cafe")):
        (row,) = read_rows(tmp_path / "m", split).values()
        assert row["scene"] == scene
    assert len(set(CLASSES)) == 13


def test_a_wrong_folder_and_a_foreign_scene_are_refused(
    official, tmp_path, write_audio
):
    with pytest.raises(FileNotFoundError, match="no Train or Val or Test in"):
        prepare_cochlscene(tmp_path / "elsewhere", tmp_path / "m")
    write_audio(official / "CochlScene" / "CochlScene" / "Test" / "Moon" / "a.wav")
    with pytest.raises(ValueError, match=r"Moon.a\.wav is not in the folder of a sc"):
        prepare_cochlscene(official, tmp_path / "m")


def test_a_second_preparation_does_nothing(official, tmp_path):
    prepare_cochlscene(official, tmp_path / "m")
    before = (tmp_path / "m" / "train.json").stat().st_mtime_ns
    prepare_cochlscene(official, tmp_path / "m")
    assert (tmp_path / "m" / "train.json").stat().st_mtime_ns == before
