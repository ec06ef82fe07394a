import json

import pytest

from pengi_plugin.corpora.msp_podcast import prepare_msp_podcast

TABLE = """\
FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set
MSP-PODCAST_0001_0001.wav,H,4.2,5.0,4.6,30,Female,Train
MSP-PODCAST_0001_0002_003.wav,C,2,3.5,4,Unknown,Unknown,Train
MSP-PODCAST_0002_0001.wav,X,2,3.5,4,31,Male,Train
MSP-PODCAST_0003_0001.wav,N,2,3.5,4,31,Male,Development
MSP-PODCAST_0004_0001.wav,U,2,3.5,4,31,Male,Test1
MSP-PODCAST_0004_0002.wav,A,2,3.5,4,31,Male,Test2
MSP-PODCAST_0004_0003.wav,O,2,3.5,4,31,Male,Test2
"""
COLUMNS, *SEGMENTS = [line.split(",") for line in TABLE.splitlines()]


def write_table(folder, text=TABLE):
    (folder / "Labels").mkdir(parents=True, exist_ok=True)
    (folder / "Labels" / "labels_consensus.csv").write_text(text)


def build(tmp_path, write_audio):
    """Return a folder as a release: all segments but the last have their file."""
    folder = tmp_path / "MSP-PODCAST-Publish-1.12"
    write_table(folder)
    for name, *_ in SEGMENTS[:-2]:
        write_audio(folder / "Audios" / name)
    return folder


official = pytest.fixture(build)


def test_a_segment_has_the_emotion_that_most_heard(official, tmp_path, read_rows):
    prepare_msp_podcast(official, tmp_path / "m")
    rows = read_rows(tmp_path / "m", "train")
    assert rows["MSP-PODCAST_0001_0001_emotion"] == {
        "wav": "{data_root}/Audios/MSP-PODCAST_0001_0001.wav",
        "duration": 0.05,
        "clip": "MSP-PODCAST_0001_0001",
        "partition": "Train",
        "arousal": 4.2,
        "valence": 5.0,
        "dominance": 4.6,
        "speaker": "30",
        "gender": "Female",
        "task": "speech_emotion",
        "emotion": "happy",
    }
    # The one without agreement has no row.
    assert [row["emotion"] for row in rows.values()] == ["happy", "contempt"]


def test_partitions_become_splits_and_stay_fields(official, tmp_path, read_rows):
    prepare_msp_podcast(official, tmp_path / "m")
    (row,) = read_rows(tmp_path / "m", "valid").values()
    assert (row["partition"], row["emotion"]) == ("Development", "neutral")
    (row,) = read_rows(tmp_path / "m", "test").values()
    assert (row["partition"], row["emotion"]) == ("Test1", "surprise")
    lines = (tmp_path / "m" / "left_out.csv").read_text().splitlines()
    assert lines == ["wav,reason", "MSP-PODCAST_0004_0002,missing"]


def test_older_releases_give_the_same_emotions(official, tmp_path, read_rows):
    prepare_msp_podcast(official, tmp_path / "new")
    (official / "Labels" / "labels_consensus.csv").unlink()
    segments = {
        name: dict(zip(COLUMNS[1:], values, strict=True)) for name, *values in SEGMENTS
    }
    segments["MSP-PODCAST_0003_0001.wav"]["Split_Set"] = "Validation"
    path = official / "Labels" / "labels_concensus.json"
    path.write_text(json.dumps(segments))
    (official / "Audios").rename(official / "Audio")
    prepare_msp_podcast(official, tmp_path / "json")
    path.unlink()
    text = "".join(
        f"{name}; {values[0]}; A:{values[1]}; V:{values[2]}; D:{values[3]}; \n"
        f"WORKER0000001; Neutral; Neutral,Bored; A:1.0; V:4.0; D:1.0; \n\n"
        for name, *values in SEGMENTS
    )
    (official / "Labels" / "labels.txt").write_text(text)
    (official / "Partitions.txt").write_text(
        "".join(f"{values[-1]}; {values[0]}\n" for values in SEGMENTS)
    )
    prepare_msp_podcast(official, tmp_path / "text")
    for split in ("train", "valid", "test"):
        expected = {
            key: (row["emotion"], row["valence"])
            for key, row in read_rows(tmp_path / "new", split).items()
        }
        for form in ("json", "text"):
            assert expected == {
                key: (row["emotion"], row["valence"])
                for key, row in read_rows(tmp_path / form, split).items()
            }


def test_a_second_preparation_does_nothing(official, tmp_path):
    prepare_msp_podcast(official, tmp_path / "m")
    before = (tmp_path / "m" / "train.json").stat().st_mtime_ns
    prepare_msp_podcast(official, tmp_path / "m")
    assert (tmp_path / "m" / "train.json").stat().st_mtime_ns == before


def test_a_wrong_folder_and_unknown_letters_and_partitions_are_refused(
    official, tmp_path
):
    with pytest.raises(FileNotFoundError, match=r"no Labels/labels_consensus\.csv or "):
        prepare_msp_podcast(official / "Audios", tmp_path / "m")
    write_table(official, TABLE.replace("_0001.wav,H", "_0001.wav,Q"))
    with pytest.raises(
        ValueError, match=r"MSP-PODCAST_0001_0001\.wav has the emotion 'Q'"
    ):
        prepare_msp_podcast(official, tmp_path / "m")
    write_table(official, TABLE.replace("Test2", "Private"))
    with pytest.raises(ValueError, match="the partition 'Private'"):
        prepare_msp_podcast(official, tmp_path / "m")
