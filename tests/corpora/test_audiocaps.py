import csv
import logging

import pytest

from pengi_plugin.corpora.audiocaps import prepare_audiocaps

HEAD = "audiocap_id,youtube_id,start_time,caption\r\n"
TRAIN = HEAD + (
    "1,-aBcDeFgHiJ,30,Wind blows\r\n"
    '2,bBcDeFgHiJ_,130,"A dog barks, twice"\r\n'
    "3,cBcDeFgHiJK,0,Caf\u00e9 noise.\r\n"
    "4,dBcDeFgHiJK,5,Lost\r\n"
)
TEST = HEAD + (
    "11,eBcDeFgHiJK,20,Rain falls\r\n"
    "12,fBcDeFgHiJK,40,A cat\r\n"
    "13,eBcDeFgHiJK,20,It rains\r\n"
)


def build(tmp_path, write_audio):
    folder = tmp_path / "audiocaps"
    (folder / "dataset").mkdir(parents=True)
    for name, text in (("train", TRAIN), ("test", TEST)):
        (folder / "dataset" / f"{name}.csv").write_bytes(text.encode())
    for name in ("-aBcDeFgHiJ_30.flac", "YbBcDeFgHiJ_.wav", "3.ogg"):
        write_audio(folder / "audio" / "train" / name)
    for name in ("eBcDeFgHiJK.wav", "12.wav"):
        write_audio(folder / "audio" / "test" / name)
    return folder


official = pytest.fixture(build)


def test_captions_of_a_clip_are_together_and_each_naming_of_files_is_found(
    official, tmp_path, read_rows, caplog
):
    with caplog.at_level(logging.INFO):
        prepare_audiocaps(official, tmp_path / "m")
    train = read_rows(tmp_path / "m", "train")
    assert {key: row["wav"].split("/")[-1] for key, row in train.items()} == {
        "-aBcDeFgHiJ_30_caption_1": "-aBcDeFgHiJ_30.flac",
        "bBcDeFgHiJ__130_caption_1": "YbBcDeFgHiJ_.wav",
        "cBcDeFgHiJK_0_caption_1": "3.ogg",
    }
    assert train["bBcDeFgHiJ__130_caption_1"]["caption"] == "A dog barks, twice"
    assert train["cBcDeFgHiJK_0_caption_1"]["caption"] == "Caf\u00e9 noise."
    assert read_rows(tmp_path / "m", "test") == {
        "eBcDeFgHiJK_20_caption": {
            "wav": "{data_root}/audio/test/eBcDeFgHiJK.wav",
            "duration": 0.05,
            "clip": "eBcDeFgHiJK_20",
            "source": "youtube:eBcDeFgHiJK:20",
            "task": "captioning",
            "caption": "Rain falls",
            "references": ["Rain falls", "It rains"],
        },
        "fBcDeFgHiJK_40_caption": {
            "wav": "{data_root}/audio/test/12.wav",
            "duration": 0.05,
            "clip": "fBcDeFgHiJK_40",
            "source": "youtube:fBcDeFgHiJK:40",
            "task": "captioning",
            "caption": "A cat",
            "references": ["A cat"],
        },
    }
    assert "train: 3 of 4 clips can be used (75.0%)" in caplog.text
    assert "complete corpus has 49,838" in caplog.text
    assert "split valid is left out. There is no csv_files_v1/val.csv" in caplog.text


def test_captions_of_another_version_are_prepared_anew(official, tmp_path, read_rows):
    prepare_audiocaps(official, tmp_path / "m")
    before = (tmp_path / "m" / "train.json").stat().st_mtime_ns
    prepare_audiocaps(official, tmp_path / "m")
    assert (tmp_path / "m" / "train.json").stat().st_mtime_ns == before
    (official / "dataset2.0").mkdir()
    for name, text in (("train", TRAIN), ("test", TEST.lower())):
        text = text.replace("ebcdefghijk", "eBcDeFgHiJK").replace("\r", "")
        (official / "dataset2.0" / f"{name}.csv").write_text(text)
    prepare_audiocaps(official, tmp_path / "m", captions="2")
    row = read_rows(tmp_path / "m", "test")["eBcDeFgHiJK_20_caption"]
    assert row["references"] == ["rain falls", "it rains"]
    with pytest.raises(ValueError, match=r"captions must be one of .* got '3'"):
        prepare_audiocaps(official, tmp_path / "m", captions="3")


def test_a_wrong_folder_names_the_lists_that_were_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"dataset/train\.csv.* or test\.csv"):
        prepare_audiocaps(tmp_path, tmp_path / "m")


def test_the_published_test_list_has_975_clips_of_five_captions(
    shared, tmp_path, write_audio, read_rows
):
    folder = shared / "data" / "audiocaps"
    with (folder / "test.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    whole = write_audio(tmp_path / "audio" / "one.wav").read_bytes()
    for video in {line["youtube_id"] for line in lines}:
        (tmp_path / "audio" / f"Y{video}.wav").write_bytes(whole)
    prepare_audiocaps(folder, tmp_path / "m", audio_folder=str(tmp_path / "audio"))
    rows = read_rows(tmp_path / "m", "test").values()
    assert {len(row["references"]) for row in rows} == {5}
    assert len(rows) == 975
    captions = sorted(text for row in rows for text in row["references"])
    assert captions == sorted(line["caption"] for line in lines)
    assert not (tmp_path / "m" / "train.json").exists()
