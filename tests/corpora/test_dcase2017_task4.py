import pytest

from pengi_plugin.corpora.audioset import CLASSES as AUDIOSET
from pengi_plugin.corpora.dcase2017_task4 import (
    CLASSES,
    prepare_dcase2017_task4,
    read_labels,
)

EVALUATION = (
    "Yaaaaaaaaa-_30.000_40.000.wav\t30.000\t40.000\tAir horn, truck horn\r\n"
    "-b_bbbbbbb__0.000_9.500.wav\t0.000\t9.500\tTruck\r\n"
    "Yaaaaaaaaa-_30.000_40.000.wav\t30.000\t40.000\tTruck\r\n"
    "lostlostlos_0.000_10.000.wav\t0.000\t10.000\tTrain\r\n"
)
TESTING = "-b_bbbbbbb__0.000_9.500.wav\t0.000\t9.500\tCar\n"


def build(tmp_path, write_audio):
    """Two lists with their line ends, clips with an added Y in two folders."""
    folder = tmp_path / "task4"
    truth = folder / "groundtruth_release"
    truth.mkdir(parents=True)
    for part, text in (("evaluation", EVALUATION), ("testing", TESTING)):
        path = truth / f"groundtruth_weak_label_{part}_set.csv"
        path.write_bytes(text.encode())
    write_audio(folder / "eval" / "YYaaaaaaaaa-_30.000_40.000.wav")
    write_audio(folder / "downloads" / "Y-b_bbbbbbb__0.000_9.500.wav")
    return folder


official = pytest.fixture(build)


def test_lines_of_a_clip_become_a_row_and_names_keep_their_commas(
    official, tmp_path, read_rows
):
    prepare_dcase2017_task4(official, tmp_path / "m")
    rows = read_rows(tmp_path / "m", "test")
    assert rows == {
        "Yaaaaaaaaa-_30.000_40.000_events": {
            "wav": "{data_root}/eval/YYaaaaaaaaa-_30.000_40.000.wav",
            "duration": 0.05,
            "clip": "Yaaaaaaaaa-_30.000_40.000",
            "source": "youtube:Yaaaaaaaaa-:30",
            "task": "sound_events",
            "labels": ["Air horn, truck horn", "Truck"],
        },
        "-b_bbbbbbb__0.000_9.500_events": {
            "wav": "{data_root}/downloads/Y-b_bbbbbbb__0.000_9.500.wav",
            "duration": 0.05,
            "clip": "-b_bbbbbbb__0.000_9.500",
            "source": "youtube:-b_bbbbbbb_:0",
            "task": "sound_events",
            "labels": ["Truck"],
        },
    }
    assert "lostlostlos_0.000_10.000,missing" in (
        (tmp_path / "m" / "left_out.csv").read_text()
    )


def test_the_testing_set_can_be_chosen_and_no_other(official, tmp_path, read_rows):
    prepare_dcase2017_task4(official, tmp_path / "m", part="evaluation")
    prepare_dcase2017_task4(official, tmp_path / "m", part="testing")
    (row,) = read_rows(tmp_path / "m", "test").values()
    assert row["labels"] == ["Car"]
    with pytest.raises(ValueError, match="part must be one of evaluation, testing; go"):
        prepare_dcase2017_task4(official, tmp_path / "m", part="training")


def test_a_wrong_folder_and_a_foreign_class_are_refused(official, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no groundtruth_weak_label_evaluat"):
        prepare_dcase2017_task4(tmp_path / "elsewhere", tmp_path / "m")
    path = official / "groundtruth_release" / "groundtruth_weak_label_testing_set.csv"
    path.write_text(TESTING.replace("Car", "Air horn"))
    with pytest.raises(ValueError, match=r"has the label 'Air horn', which is no cla"):
        prepare_dcase2017_task4(official, tmp_path / "m", part="testing")


def test_a_second_preparation_does_nothing(official, tmp_path):
    prepare_dcase2017_task4(official, tmp_path / "m")
    before = (tmp_path / "m" / "test.json").stat().st_mtime_ns
    prepare_dcase2017_task4(official, tmp_path / "m")
    assert (tmp_path / "m" / "test.json").stat().st_mtime_ns == before


def test_the_17_classes_are_audiosets():
    assert len(set(CLASSES)) == 17
    assert set(CLASSES) <= set(AUDIOSET)


def test_the_real_first_rows_and_names_are_read(shared):
    folder = shared / "corpora" / "samples" / "dcase2017_task4"
    for part in ("evaluation", "testing", "training"):
        name = f"groundtruth_weak_label_{part}_set.csv"
        clips = read_labels(folder / "groundtruth_release" / name)
        assert len(clips) == 15
    lines = (folder / "sound_event_list_17_classes.txt").read_text().splitlines()[1:]
    assert [line.split("\t")[2] for line in lines if line] == CLASSES
