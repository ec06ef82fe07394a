import pytest

from pengi_plugin.corpora.tut2017 import CLASSES, prepare_tut2017, read_lines

DEVELOPMENT = "audio/b020_90_100.wav\tbeach\tb020\r\naudio/a1_0_10.wav\thome\ta1\r\n"
EVALUATION = "audio/c7_0_10.wav\tcafe/restaurant\naudio/c8_0_10.wav\tcity_center\n"


def build(tmp_path, write_audio):
    """Both parts; the evaluation's audio has other names than its list."""
    for part in ("development", "evaluation"):
        folder = tmp_path / f"TUT-acoustic-scenes-2017-{part}"
        (folder / "evaluation_setup").mkdir(parents=True)
    development = tmp_path / "TUT-acoustic-scenes-2017-development"
    (development / "meta.txt").write_bytes(DEVELOPMENT.encode())
    write_audio(development / "audio" / "b020_90_100.wav")
    evaluation = tmp_path / "TUT-acoustic-scenes-2017-evaluation"
    (evaluation / "evaluation_setup" / "evaluate.txt").write_text(EVALUATION)
    write_map(evaluation, "c7_0_10", "1")
    write_audio(evaluation / "audio" / "1.wav")
    write_audio(evaluation / "audio" / "c8_0_10.wav")
    return tmp_path


official = pytest.fixture(build)


def write_map(folder, first, second):
    line = f"audio/{first}.wav\taudio/{second}.wav\n"
    (folder / "evaluation_setup" / "map.txt").write_text(line)


def test_the_evaluation_part_is_read_with_anonymous_names(
    official, tmp_path, read_rows
):
    prepare_tut2017(official, tmp_path / "m")
    rows = read_rows(tmp_path / "m", "test")
    assert rows["evaluation_c7_0_10_scene"] == {
        "wav": "{data_root}/TUT-acoustic-scenes-2017-evaluation/audio/1.wav",
        "duration": 0.05,
        "clip": "evaluation_c7_0_10",
        "part": "evaluation",
        "task": "acoustic_scene",
        "scene": "cafe or restaurant",
    }
    assert rows["evaluation_c8_0_10_scene"]["scene"] == "city center"
    write_map(official / "TUT-acoustic-scenes-2017-evaluation", "1", "c7_0_10")
    prepare_tut2017(official, tmp_path / "n")
    assert read_rows(tmp_path / "n", "test") == rows


def test_other_parts_can_be_chosen(official, tmp_path, read_rows):
    prepare_tut2017(official, tmp_path / "m", part="development")
    folder = official / "TUT-acoustic-scenes-2017-development"
    prepare_tut2017(folder, tmp_path / "n", part="development")
    for name, root in (("m", f"{{data_root}}/{folder.name}"), ("n", "{data_root}")):
        (row,) = read_rows(tmp_path / name, "test").values()
        assert (row["wav"], row["scene"]) == (f"{root}/audio/b020_90_100.wav", "beach")
    prepare_tut2017(official, tmp_path / "m", part="all")
    assert len(read_rows(tmp_path / "m", "test")) == 3
    with pytest.raises(ValueError, match="evaluation, development, all; got 'test'"):
        prepare_tut2017(official, tmp_path / "m", part="test")


def test_a_meta_file_goes_first_whatever_its_columns(official, tmp_path, read_rows):
    folder = official / "TUT-acoustic-scenes-2017-evaluation"
    (folder / "meta.txt").write_text("audio/c8_0_10.wav\tx\ttram\n")
    prepare_tut2017(folder, tmp_path / "m")
    (row,) = read_rows(tmp_path / "m", "test").values()
    assert (row["clip"], row["scene"]) == ("evaluation_c8_0_10", "tram")


def test_a_wrong_folder_and_a_foreign_scene_are_refused(official, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no meta\.txt or evaluation_setup/ev"):
        prepare_tut2017(tmp_path / "elsewhere", tmp_path / "m")
    folder = official / "TUT-acoustic-scenes-2017-development"
    with pytest.raises(FileNotFoundError, match="which has the development part; give"):
        prepare_tut2017(folder, tmp_path / "m")
    (folder / "meta.txt").write_text("audio/a.wav\tmoon\n")
    with pytest.raises(ValueError, match=r"none of the 15 scenes in \['moon'\]"):
        prepare_tut2017(folder, tmp_path / "m", part="development")


def test_a_second_preparation_does_nothing(official, tmp_path):
    prepare_tut2017(official, tmp_path / "m")
    before = (tmp_path / "m" / "test.json").stat().st_mtime_ns
    prepare_tut2017(official, tmp_path / "m")
    assert (tmp_path / "m" / "test.json").stat().st_mtime_ns == before
    assert len(set(CLASSES)) == 15


def test_the_real_first_row_is_read(shared):
    folder = shared / "corpora" / "samples" / "tut_acoustic_scenes_2017"
    path = folder / "TUT-acoustic-scenes-2017-development" / "meta.txt"
    assert read_lines(path) == [["audio/b020_90_100.wav", "beach", "b020"]]
