import pickle
from collections import OrderedDict, defaultdict

import pytest

from pengi_plugin.corpora.sounddescs import prepare_sounddescs, read_pickle


def write_pickle(path, items):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(defaultdict(str, items), protocol=3))


def build(tmp_path, write_audio):
    folder = tmp_path / "sounddescs"
    write_pickle(
        folder / "sounddescs_data" / "descriptions.pkl",
        {
            "07051146": "Doors - a door, closing.",
            "nhu05": "Gulls",
            "1": "Lost",
            "2": "",
        },
    )
    lists = folder / "data" / "SoundDescs"
    lists.mkdir(parents=True)
    (lists / "train_list.txt").write_text("07051146\n1\n2\n")
    (lists / "val_list.txt").write_text("")
    (lists / "test_list.txt").write_text("nhu05\r\n")
    write_audio(folder / "audios" / "07051146" / "07051146.wav")
    write_audio(folder / "audios" / "NHU05" / "NHU05.wav")
    return folder


official = pytest.fixture(build)


def test_descriptions_are_metadata_and_ids_are_found_in_any_case(
    official, tmp_path, read_rows
):
    prepare_sounddescs(official, tmp_path / "m")
    assert read_rows(tmp_path / "m", "train") == {
        "07051146_metadata_1": {
            "wav": "{data_root}/audios/07051146/07051146.wav",
            "duration": 0.05,
            "clip": "07051146",
            "source": "bbc:07051146",
            "task": "metadata",
            "metadata": "Doors - a door, closing.",
            "references": ["Doors - a door, closing."],
        }
    }
    row = read_rows(tmp_path / "m", "test")["nhu05_metadata"]
    assert row["wav"] == "{data_root}/audios/NHU05/NHU05.wav"
    assert (tmp_path / "m" / "left_out.csv").read_text() == "wav,reason\n1,missing\n"


def test_lists_of_others_take_the_place_of_the_official_ones(
    official, tmp_path, read_rows
):
    prepare_sounddescs(official, tmp_path / "m")
    before = (tmp_path / "m" / "train.json").stat().st_mtime_ns
    prepare_sounddescs(official, tmp_path / "m")
    assert (tmp_path / "m" / "train.json").stat().st_mtime_ns == before
    lists = tmp_path / "group_filtered_split01"
    lists.mkdir()
    (lists / "train_list.txt").write_text("nhu05\n")
    prepare_sounddescs(official, tmp_path / "m", lists=str(lists))
    assert list(read_rows(tmp_path / "m", "train")) == ["nhu05_metadata_1"]


def test_a_wrong_folder_and_a_pickle_of_more_than_texts_are_refused(official, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no descriptions\.pkl or sound"):
        prepare_sounddescs(tmp_path / "elsewhere", tmp_path / "m")
    path = official / "sounddescs_data" / "descriptions.pkl"
    path.write_bytes(pickle.dumps(OrderedDict(a="b")))
    with pytest.raises(ValueError, match=r"it holds collections\.OrderedDict"):
        prepare_sounddescs(official, tmp_path / "m")
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match="run git lfs pull"):
        prepare_sounddescs(official, tmp_path / "m")


def test_the_real_tables_and_lists_are_read(shared, tmp_path, write_audio, read_rows):
    folder = shared / "corpora" / "samples" / "sounddescs"
    found = read_pickle(folder / "sounddescs_data" / "categories.pkl")
    assert len(found) == 15
    assert found["07000163"] == ["Aircraft", "Military"]
    lists = folder / "data" / "SoundDescs"
    ids = (lists / "train_list.txt").read_text().split()
    write_pickle(tmp_path / "descriptions.pkl", {name: name for name in ids})
    for name in ids:
        write_audio(tmp_path / f"{name.upper()}.wav")
    prepare_sounddescs(tmp_path, tmp_path / "m", lists=str(lists))
    assert len(read_rows(tmp_path / "m", "train")) == len(ids) == 15
