import csv
import json

import pytest

from pengi_plugin.corpora.vocalsound import CLASSES, prepare_vocalsound

LISTS = {
    "tr": ["/home/x/audio_16k/f0003_0_cough.wav", "/home/x/audio_16k/m0004_0_sigh.wav"],
    "val": ["C:\\x\\audio_16k\\m0005_1_sneeze.wav"],
    "te": ["/home/x/audio_16k/f0006_2_throatclearing.wav"],
}


def build(tmp_path, write_audio):
    folder = tmp_path / "vs_release_16k" / "data"
    (folder / "datafiles").mkdir(parents=True)
    for name, wavs in LISTS.items():
        write_list(folder, name, wavs)
    for name in ("f0003_0_cough", "m0005_1_sneeze", "f0006_2_throatclearing"):
        write_audio(folder / "audio_16k" / f"{name}.wav")
    return folder


official = pytest.fixture(build)


def write_list(folder, name, wavs):
    entries = {"data": [{"wav": wav, "labels": "/m/01b_21"} for wav in wavs]}
    (folder / "datafiles" / f"{name}.json").write_text(json.dumps(entries))


def test_lists_tell_the_split_and_names_the_class(official, tmp_path, read_rows):
    prepare_vocalsound(official.parent, tmp_path / "m")
    assert read_rows(tmp_path / "m", "train") == {
        "f0003_0_cough_events": {
            "wav": "{data_root}/data/audio_16k/f0003_0_cough.wav",
            "duration": 0.05,
            "clip": "f0003_0_cough",
            "speaker": "f0003",
            "task": "sound_events",
            "labels": ["cough"],
        }
    }
    labels = [
        row["labels"]
        for split in ("valid", "test")
        for row in read_rows(tmp_path / "m", split).values()
    ]
    assert labels == [["sneeze"], ["throat clearing"]]
    assert "m0004_0_sigh,missing" in (tmp_path / "m" / "left_out.csv").read_text()


def test_a_wrong_folder_and_a_foreign_class_are_refused(official, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no datafiles/tr\.json in"):
        prepare_vocalsound(tmp_path / "elsewhere", tmp_path / "m")
    write_list(official, "te", ["/x/f0006_2_yawn.wav"])
    with pytest.raises(ValueError, match=r"has the file '/x/f0006_2_yawn\.wav'"):
        prepare_vocalsound(official, tmp_path / "m")


def test_a_second_preparation_does_nothing(official, tmp_path):
    prepare_vocalsound(official, tmp_path / "m")
    before = (tmp_path / "m" / "test.json").stat().st_mtime_ns
    prepare_vocalsound(official, tmp_path / "m")
    assert (tmp_path / "m" / "test.json").stat().st_mtime_ns == before


def test_the_classes_are_the_real_ones(shared):
    folder = shared / "corpora" / "samples" / "vocalsound"
    with (folder / "class_labels_indices_vs.csv").open(newline="") as file:
        names = [line["display_name"].lower() for line in csv.DictReader(file)]
    assert names == CLASSES
