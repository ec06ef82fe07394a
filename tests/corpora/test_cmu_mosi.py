import json

import pytest

from pengi_plugin.corpora.cmu_mosi import VIDEOS, prepare_cmu_mosi, read_official

VALID, TEST = "_dI--eQ6qVU", "c7UH_rxdZv4"
TABLE = (
    f"27.87913832,32.9276644,{VALID},1,2.4\r\n"
    f"45.54897959,47.78390023,{VALID},2,-0.2\r\n"
    f"1.5,2,{TEST},1,0.0\r\n"
    "0,1,-a_b,1,-3\r\n"
)


def build(tmp_path, write_audio):
    """Return the official archive of three videos; a segment is missing."""
    folder = tmp_path / "CMU_MOSI"
    audio = folder / "Raw" / "Audio" / "WAV_16000"
    for name in (f"{VALID}_1", f"{TEST}_1", "-a_b_1"):
        write_audio(audio / "Segmented" / f"{name}.wav")
    write_audio(audio / "Full" / f"{VALID}.wav")
    (folder / "Raw" / "Labels").mkdir()
    table = folder / "Raw" / "Labels" / "OpinionLevelSentiment.csv"
    table.write_bytes(TABLE.encode())
    return folder


official = pytest.fixture(build)


def test_a_segment_has_the_sign_of_its_score(official, tmp_path, read_rows):
    prepare_cmu_mosi(official, tmp_path / "m")
    assert read_rows(tmp_path / "m", "valid") == {
        f"{VALID}_1_sentiment": {
            "wav": f"{{data_root}}/Raw/Audio/WAV_16000/Segmented/{VALID}_1.wav",
            "duration": 0.05,
            "clip": f"{VALID}_1",
            "source": f"youtube:{VALID}:27.879",
            "task": "speech_sentiment",
            "sentiment": "positive",
            "score": 2.4,
        }
    }
    (row,) = read_rows(tmp_path / "m", "test").values()
    assert row["sentiment"] == "neutral"
    assert read_rows(tmp_path / "m", "train")["-a_b_1_sentiment"]["score"] == -3
    lines = (tmp_path / "m" / "left_out.csv").read_text().splitlines()
    assert lines == ["wav,reason", f"{VALID}_2,missing"]


def test_the_layout_of_mmsa_is_read(tmp_path, write_audio, read_rows):
    folder = tmp_path / "MOSI"
    write_audio(folder / "Raw" / "-a_b" / "1.wav")
    write_audio(folder / "Raw" / VALID / "1.wav")
    write_audio(folder / "Raw" / VALID / "10.wav")
    (folder / "label.csv").write_text(
        "video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode\n"
        '-a_b,1,"really, good",2.4,,,,Positive,train\n'
        f"{VALID},1,hm,0.0,,,,Neutral,valid\n"
        f"{VALID},10,bad,-1.2,,,,Negative,validation\n"
    )
    prepare_cmu_mosi(folder, tmp_path / "m")
    (row,) = read_rows(tmp_path / "m", "train").values()
    assert (row["clip"], row["sentiment"]) == ("-a_b_1", "positive")
    assert {
        row["wav"]: row["sentiment"]
        for row in read_rows(tmp_path / "m", "valid").values()
    } == {
        f"{{data_root}}/Raw/{VALID}/1.wav": "neutral",
        f"{{data_root}}/Raw/{VALID}/10.wav": "negative",
    }
    (folder / "Raw" / "-a_b" / "2.mp4").write_text("video")
    for path in folder.rglob("*.wav"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="It has 1 videos: extract their sound"):
        prepare_cmu_mosi(folder, tmp_path / "other")


def test_a_second_preparation_does_nothing(official, tmp_path):
    prepare_cmu_mosi(official, tmp_path / "m")
    before = (tmp_path / "m" / "train.json").stat().st_mtime_ns
    prepare_cmu_mosi(official, tmp_path / "m")
    assert (tmp_path / "m" / "train.json").stat().st_mtime_ns == before


def test_a_wrong_folder_and_another_table_are_refused(official, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no OpinionLevelSentiment.csv or Raw"):
        prepare_cmu_mosi(official / "Raw" / "Audio", tmp_path / "m")
    table = official / "Raw" / "Labels" / "OpinionLevelSentiment.csv"
    table.write_text("0,1,a,1,2\n0,1,a,2\n")
    with pytest.raises(ValueError, match=r"Line 2 of .* has 4 columns"):
        prepare_cmu_mosi(official, tmp_path / "m")


def test_the_official_table_and_splits_are_read(shared):
    folder = shared / "corpora/samples/cmu_mosi"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    clips = read_official(folder / "Raw/Labels/OpinionLevelSentiment.csv", {})
    assert len(clips) == 15
    assert clips[2].name == "_dI--eQ6qVU_3"
    assert clips[2].rows["sentiment"]["sentiment"] == "negative"
    folds = json.loads((folder / "standard_folds.json").read_text())
    for split in ("valid", "test"):
        assert VIDEOS[split] == set(folds[split])
    assert not (VIDEOS["valid"] | VIDEOS["test"]) & set(folds["train"])
