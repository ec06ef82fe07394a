import numpy as np
import pytest
import soundfile

from pengi_plugin.corpora.sesa import CLASSES, prepare_sesa


def build(tmp_path, write_audio):
    """The archive's folder; a name that is in both parts, a file of 8 bits."""
    folder = tmp_path / "data" / "SESA"
    write_audio(folder / "train" / "casual_000.wav")
    write_audio(folder / "test" / "casual_000.wav")
    noise = np.linspace(-0.1, 0.1, 800)
    path = folder / "test" / "gunshot_032.wav"
    soundfile.write(path, noise, 16000, subtype="PCM_U8")
    return folder


official = pytest.fixture(build)


def test_the_test_files_have_the_class_of_their_name(official, tmp_path, read_rows):
    prepare_sesa(official, tmp_path / "m")
    assert read_rows(tmp_path / "m", "test") == {
        f"test_{name}_events": {
            "wav": f"{{data_root}}/test/{name}.wav",
            "duration": 0.05,
            "clip": f"test_{name}",
            "source": f"sesa:test/{name}",
            "task": "sound_events",
            "labels": [label],
        }
        for name, label in (("casual_000", "casual"), ("gunshot_032", "gunshot"))
    }
    assert len(set(CLASSES)) == 4


def test_all_files_can_be_chosen_from_a_folder_above(official, tmp_path, read_rows):
    prepare_sesa(official.parent, tmp_path / "m", part="all")
    wavs = [row["wav"] for row in read_rows(tmp_path / "m", "test").values()]
    assert wavs == [
        "{data_root}/SESA/train/casual_000.wav",
        "{data_root}/SESA/test/casual_000.wav",
        "{data_root}/SESA/test/gunshot_032.wav",
    ]


def test_a_wrong_folder_part_or_name_is_refused(official, tmp_path, write_audio):
    with pytest.raises(FileNotFoundError, match="no SESA/test or test in"):
        prepare_sesa(tmp_path / "elsewhere", tmp_path / "m")
    with pytest.raises(ValueError, match="part must be one of test, all; got 'train'"):
        prepare_sesa(official, tmp_path / "m", part="train")
    write_audio(official / "test" / "dog_001.wav")
    with pytest.raises(ValueError, match=r"dog_001\.wav must begin with one of casual"):
        prepare_sesa(official, tmp_path / "m")


def test_a_second_preparation_does_nothing(official, tmp_path):
    prepare_sesa(official, tmp_path / "m")
    before = (tmp_path / "m" / "test.json").stat().st_mtime_ns
    prepare_sesa(official, tmp_path / "m")
    assert (tmp_path / "m" / "test.json").stat().st_mtime_ns == before
