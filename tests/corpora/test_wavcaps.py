import json
import logging

import pytest

from pengi_plugin.corpora.exclusion import read_list
from pengi_plugin.corpora.wavcaps import prepare_wavcaps

ITEMS = {
    "AudioSet_SL/as": [
        {"id": "Yb0RFKhbpFJA.wav", "caption": "Wind."},
        {"id": "Y-YxxxxxxxxY.wav", "caption": "In AudioCaps."},
        {"id": "YVcu0pVF1npM.wav", "caption": "Damaged."},
    ],
    "FreeSound/fsd": [
        {
            "id": "2219",
            "caption": "A ringtone.",
            "description": "Mello tone",
            "tags": [],
        },
        {"id": "117790", "caption": "In Clotho.", "description": "x"},
    ],
    "BBC_Sound_Effects/bbc": [
        {"id": "NHU05", "caption": "A saw.", "description": "Rip saw"}
    ],
    "SoundBible/sb": [
        {"id": "2219", "caption": "A plane lands.", "description": ""},
        {"id": "9", "caption": "Lost.", "description": "Lost"},
    ],
}


def build(tmp_path, write_audio):
    folder = tmp_path / "WavCaps"
    for name, items in ITEMS.items():
        path = folder / "json_files" / f"{name}_final.json"
        path.parent.mkdir(parents=True)
        items = [{**item, "duration": 3.0, "audio": "wav_path"} for item in items]
        path.write_text(json.dumps({"num_captions_per_audio": 1, "data": items}))
    for name in (
        *("Audio/AudioSet_SL/Yb0RFKhbpFJA", "Audio/AudioSet_SL/Y-YxxxxxxxxY"),
        *("Audio/AudioSet_SL/YVcu0pVF1npM", "FreeSound_flac/2219"),
        *("FreeSound_flac/117790", "Zip_files/SoundBible/a/2219"),
        "Zip_files/BBC_Sound_Effects/NHU05",
    ):
        write_audio(folder / f"{name}.flac")
    return folder


official = pytest.fixture(build)


def add_lists(folder):
    (folder / "blacklist_audiocaps.full.csv").write_text(
        "index,id\n0,Y-YxxxxxxxxY.wav\n"
    )
    lists = folder / "json_files" / "blacklist"
    lists.mkdir()
    (lists / "blacklist_exclude_test_ac.json").write_text(
        json.dumps({"AudioSet": ["Yzzzzzzzzzzz.wav"], "FreeSound": ["117790"]})
    )


def clips_of(read_rows, folder):
    return {row["clip"] for row in read_rows(folder, "train").values()}


def test_sites_have_clips_of_their_own_and_lists_leave_some_out(
    official, tmp_path, read_rows, caplog
):
    add_lists(official)
    with caplog.at_level(logging.INFO):
        prepare_wavcaps(official, tmp_path / "m")
    rows = read_rows(tmp_path / "m", "train")
    assert {key: row["source"] for key, row in rows.items()} == {
        "AudioSet_SL_Yb0RFKhbpFJA_metadata_1": "youtube:b0RFKhbpFJA",
        "BBC_Sound_Effects_NHU05_metadata_1": "bbc:nhu05",
        "FreeSound_2219_metadata_1": "freesound:2219",
        "SoundBible_2219_metadata_1": "soundbible:2219",
    }
    assert rows["SoundBible_2219_metadata_1"] == {
        "wav": "{data_root}/Zip_files/SoundBible/a/2219.flac",
        "duration": 0.05,
        "clip": "SoundBible_2219",
        "source": "soundbible:2219",
        "task": "metadata",
        "metadata": "A plane lands.",
        "references": ["A plane lands."],
    }
    assert "3 of 8 clips are left out" in caplog.text
    assert "SoundBible_9,missing" in (tmp_path / "m" / "left_out.csv").read_text()


def test_lists_that_came_later_are_applied_and_none_is_a_warning(
    official, tmp_path, read_rows, caplog
):
    prepare_wavcaps(official, tmp_path / "m")
    assert "no list of clips to leave out is applied" in caplog.text
    assert "FreeSound_117790" in clips_of(read_rows, tmp_path / "m")
    before = (tmp_path / "m" / "train.json").stat().st_mtime_ns
    prepare_wavcaps(official, tmp_path / "m")
    assert (tmp_path / "m" / "train.json").stat().st_mtime_ns == before
    add_lists(official)
    prepare_wavcaps(official, tmp_path / "m")
    assert "FreeSound_117790" not in clips_of(read_rows, tmp_path / "m")
    prepare_wavcaps(official, tmp_path / "m", exclude=False)
    assert "FreeSound_117790" in clips_of(read_rows, tmp_path / "m")
    mine = tmp_path / "mine.csv"
    mine.write_text("id\n2219\n")
    prepare_wavcaps(official, tmp_path / "m", exclude=False, lists=(str(mine),))
    assert "FreeSound_2219" not in clips_of(read_rows, tmp_path / "m")
    assert "SoundBible_2219" in clips_of(read_rows, tmp_path / "m")


def test_the_sites_text_and_captioning_can_be_chosen(official, tmp_path, read_rows):
    prepare_wavcaps(official, tmp_path / "m", text="description", task="captioning")
    rows = read_rows(tmp_path / "m", "train")
    assert rows["FreeSound_2219_caption_1"]["caption"] == "Mello tone"
    assert rows["SoundBible_2219_caption_1"]["caption"] == "A plane lands."


def test_a_wrong_folder_and_a_wrong_list_are_refused(official, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no json_files/AudioSet_SL/as_final"):
        prepare_wavcaps(tmp_path / "elsewhere", tmp_path / "m")
    mine = tmp_path / "mine.csv"
    mine.write_text("number\n2219\n")
    with pytest.raises(ValueError, match=r"no column 'id'; it has \['number'\]"):
        prepare_wavcaps(official, tmp_path / "m", lists=(str(mine),))


def test_the_real_first_rows_are_read(shared, tmp_path, write_audio, read_rows):
    samples = shared / "corpora" / "samples" / "wavcaps"
    ids = read_list(samples / "aac-datasets" / "blacklist_audiocaps.full.csv")
    assert "r1nicOVtvkQ" in ids["AudioSet"]
    assert not ids["FreeSound"]
    ids = read_list(samples / "aac-datasets" / "blacklist_clotho.full.v2.csv")
    assert {"117790", "6896"} < ids["FreeSound"]
    data = tmp_path / "data"
    for path in samples.rglob("*_final.json"):
        copy = data / path.relative_to(samples)
        copy.parent.mkdir(parents=True)
        copy.write_bytes(path.read_bytes())
        for item in json.loads(path.read_text())["data"]:
            name = item["id"].removesuffix(".wav")
            write_audio(data / "Audio" / path.parent.name / f"{name}.flac")
    prepare_wavcaps(data, tmp_path / "m")
    rows = read_rows(tmp_path / "m", "train")
    assert rows["SoundBible_2219_metadata_1"]["metadata"] == "An airplane is landing."
    assert rows["FreeSound_180913_metadata_1"]["source"] == "freesound:180913"
