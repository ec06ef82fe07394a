import csv
import logging

import pytest

from pengi_plugin.corpora.meld import (
    EMOTIONS,
    SENTIMENTS,
    find_labels,
    prepare_meld,
    read_utterances,
)

HEADER = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,"
    "Episode,StartTime,EndTime\r\n"
)
TIMES = '8,21,"00:16:16,059","00:16:21,731"\r\n'
TABLES = {
    "train": f'1,"Well, that\u2019s it.",Ada,joy,positive,0,0,{TIMES}'
    f'2,"""No!"", she said",Bo,surprise,negative,0,1,{TIMES}'
    f"3,Hum,Bo,anger,negative,309,0,{TIMES}",
    "dev": f"1,Oh.,Cleo,neutral,neutral,0,0,{TIMES}",
    "test": f"1,Ah.,Cleo,fear,negative,0,0,{TIMES}",
}
FOLDERS = {
    "train": "train/train_splits",
    "dev": "dev/dev_splits_complete",
    "test": "test/output_repeated_splits_test",
}


def build(tmp_path, write_audio):
    """Return a folder as MELD.Raw unpacks, with sound beside the videos."""
    folder = tmp_path / "raw"
    for split, lines in TABLES.items():
        place = folder / FOLDERS[split]
        write_audio(place / "dia0_utt0.wav")
        (place / "dia0_utt0.mp4").write_text("video")
        write_audio(place / "dia66_utt9.wav")  # no table lists it
        table = folder / ("train" if split == "train" else "") / f"{split}_sent_emo.csv"
        table.write_bytes((HEADER + lines).encode("cp1252"))
    write_audio(folder / "train" / "train_splits" / "dia309_utt0.wav")
    write_audio(folder / "test" / FOLDERS["test"] / "final_videos_testdia0_utt0.wav")
    return folder


official = pytest.fixture(build)


def test_an_utterance_has_an_emotion_and_a_sentiment(official, tmp_path, read_rows):
    prepare_meld(official, tmp_path / "m")
    common = {
        "wav": "{data_root}/train/train_splits/dia0_utt0.wav",
        "duration": 0.05,
        "clip": "train_dia0_utt0",
        "speaker": "Ada",
        "dialogue": "0",
    }
    assert read_rows(tmp_path / "m", "train") == {
        "train_dia0_utt0_emotion": common
        | {"task": "speech_emotion", "emotion": "joy"},
        "train_dia0_utt0_sentiment": common
        | {"task": "speech_sentiment", "sentiment": "positive"},
    }


def test_clips_of_the_same_name_are_those_of_their_splits(
    official, tmp_path, read_rows
):
    prepare_meld(official, tmp_path / "m")
    for split, folder, emotion in (
        ("valid", "dev/dev_splits_complete", "neutral"),
        ("test", "test/output_repeated_splits_test", "fear"),
    ):
        row = read_rows(tmp_path / "m", split)[f"{split}_dia0_utt0_emotion"]
        assert row["wav"] == f"{{data_root}}/{folder}/dia0_utt0.wav"
        assert row["emotion"] == emotion


def test_missing_and_faulty_clips_are_named(official, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        prepare_meld(official, tmp_path / "m")
    with (tmp_path / "m" / "left_out.csv").open(newline="") as file:
        assert list(csv.reader(file))[1:] == [["train_dia0_utt1", "missing"]]
    assert "dia309_utt0 is left out of training" in caplog.text


def test_one_folder_of_audio_per_split_will_do(official, tmp_path, read_rows):
    for split in FOLDERS:
        (official / FOLDERS[split]).rename(official / f"audio16k_{split}")
    prepare_meld(official, tmp_path / "m")
    (row, _) = read_rows(tmp_path / "m", "valid").values()
    assert row["wav"] == "{data_root}/audio16k_dev/dia0_utt0.wav"


def test_a_second_preparation_does_nothing(official, tmp_path):
    prepare_meld(official, tmp_path / "m")
    before = (tmp_path / "m" / "train.json").stat().st_mtime_ns
    prepare_meld(official, tmp_path / "m")
    assert (tmp_path / "m" / "train.json").stat().st_mtime_ns == before


def test_a_wrong_folder_videos_alone_and_foreign_labels_are_refused(official, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no train_sent_emo\.csv or train/"):
        prepare_meld(official / "dev", tmp_path / "m")
    (official / "dev_sent_emo.csv").write_text(
        HEADER + f"1,Oh.,Cleo,boredom,neutral,0,0,{TIMES}"
    )
    with pytest.raises(ValueError, match=r"Row 1 of .* has the emotion 'boredom'"):
        prepare_meld(official, tmp_path / "m")
    for path in official.rglob("*.wav"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="It has 3 videos: extract"):
        prepare_meld(official, tmp_path / "m")


def test_the_official_tables_are_read(shared):
    folder = shared / "corpora/samples/meld"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    for split in ("train", "valid", "test"):
        clips = read_utterances(find_labels(folder, split), split, {})
        assert len(clips) == 15
        assert all(clip.rows["emotion"]["emotion"] in EMOTIONS for clip in clips)
        assert all(clip.rows["sentiment"]["sentiment"] in SENTIMENTS for clip in clips)
        assert clips[0].name == f"{split}_dia0_utt0"
