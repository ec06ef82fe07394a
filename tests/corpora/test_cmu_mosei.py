import numpy as np
import pytest
import soundfile

from pengi_plugin.corpora.cmu_mosei import (
    COLUMNS,
    SENTIMENTS,
    clip_of,
    prepare_cmu_mosei,
)
from pengi_plugin.data.preparation import read_table

TABLE = """\
,file,index,start,end,label2a,label2b,label6,label7,split
0,--qXJuDtHPw,0,0.1,0.3,1,1,0,1,0
1,--qXJuDtHPw,1,-0.05,0.1,0,-1,0,-2,0
2,--qXJuDtHPw,2,0.9,1.5,1,0,0,0,0
3,--qXJuDtHPw,3,2.0,3.0,1,0,0,0,0
4,286943,0,0.0,0.2,1,1,4,3,1
5,-3g5yACwYnA,0,0.0,0.2,1,1,4,3,2
6,-3g5yACwYnA,1,0.2,0.3,1,1,4,3,3
"""


def build(tmp_path):
    """Return the official archive's whole videos, of 1 s each, and s3prl's table."""
    folder = tmp_path / "CMU_MOSEI"
    audio = folder / "Raw" / "Audio" / "Full" / "WAV_16000"
    audio.mkdir(parents=True)
    for name in ("--qXJuDtHPw", "286943", "-3g5yACwYnA"):
        soundfile.write(audio / f"{name}.wav", np.arange(1000) / 1000, 1000)
    (folder / "CMU_MOSEI_Labels.csv").write_text(TABLE)
    return folder


whole = pytest.fixture(build)


def test_segments_are_cut_out_of_whole_videos(whole, tmp_path, read_rows):
    prepare_cmu_mosei(whole, tmp_path / "m")
    rows = read_rows(tmp_path / "m", "train")
    row = rows["--qXJuDtHPw_0_sentiment"]
    assert row == {
        "wav": str(tmp_path / "m" / "segments" / "--qXJuDtHPw_0_0.100_0.300.flac"),
        "duration": 0.2,
        "clip": "--qXJuDtHPw_0",
        "source": "youtube:--qXJuDtHPw:0.100",
        "task": "speech_sentiment",
        "sentiment": "positive",
    }
    wave, rate = soundfile.read(row["wav"])
    assert rate == 1000
    np.testing.assert_allclose(wave, np.arange(100, 300) / 1000, atol=2**-14)
    # One begins before 0 s, one ends behind the end, one lies behind it.
    assert {key: row["duration"] for key, row in rows.items()} == {
        "--qXJuDtHPw_0_sentiment": 0.2,
        "--qXJuDtHPw_1_sentiment": 0.1,
        "--qXJuDtHPw_2_sentiment": 0.1,
    }
    lines = (tmp_path / "m" / "left_out.csv").read_text().splitlines()
    assert lines == ["wav,reason", "--qXJuDtHPw_3,missing"]


def test_rows_of_no_split_and_names_of_digits_are_right(whole, tmp_path, read_rows):
    prepare_cmu_mosei(whole, tmp_path / "m")
    (row,) = read_rows(tmp_path / "m", "valid").values()
    assert (row["clip"], "source" in row) == ("286943_0", False)
    assert [*read_rows(tmp_path / "m", "test")] == ["-3g5yACwYnA_0_sentiment"]


def test_segments_that_are_there_are_not_cut_again(
    whole, tmp_path, read_rows, write_audio
):
    prepare_cmu_mosei(whole, tmp_path / "m")
    cut = tmp_path / "m" / "segments" / "--qXJuDtHPw_0_0.100_0.300.flac"
    before = cut.stat().st_mtime_ns
    (tmp_path / "m" / "prepared.json").unlink()
    write_audio(whole / "Segmented_Audio" / "dev" / "286943_0.wav")
    prepare_cmu_mosei(whole, tmp_path / "m")
    assert cut.stat().st_mtime_ns == before
    (row,) = read_rows(tmp_path / "m", "valid").values()
    assert row["wav"] == "{data_root}/Segmented_Audio/dev/286943_0.wav"


def test_a_whole_video_that_cannot_be_read_is_left_out(whole, tmp_path, caplog):
    path = whole / "Raw" / "Audio" / "Full" / "WAV_16000" / "286943.wav"
    path.write_text("no audio")
    prepare_cmu_mosei(whole, tmp_path / "m")
    assert "286943.wav cannot be read" in caplog.text
    assert "286943_0,missing" in (tmp_path / "m" / "left_out.csv").read_text()


def test_the_layout_of_mmsa_is_read(tmp_path, write_audio, read_rows):
    folder = tmp_path / "MOSEI"
    write_audio(folder / "Raw" / "286943" / "3.wav")
    (folder / "label.csv").write_text(
        "video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode\n"
        "286943,3,well,-0.33333334,,,,Negative,train\n"
    )
    prepare_cmu_mosei(folder, tmp_path / "m")
    (row,) = read_rows(tmp_path / "m", "train").values()
    assert (row["clip"], row["sentiment"]) == ("286943_3", "negative")


def test_a_second_preparation_does_nothing(whole, tmp_path):
    prepare_cmu_mosei(whole, tmp_path / "m")
    before = (tmp_path / "m" / "train.json").stat().st_mtime_ns
    prepare_cmu_mosei(whole, tmp_path / "m")
    assert (tmp_path / "m" / "train.json").stat().st_mtime_ns == before


def test_a_wrong_folder_and_unknown_codes_are_refused(whole, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no CMU_MOSEI_Labels\.csv or Raw/"):
        prepare_cmu_mosei(whole / "Raw" / "Audio", tmp_path / "m")
    (whole / "CMU_MOSEI_Labels.csv").write_text(
        TABLE.replace(",1,1,4,3,1", ",1,7,4,3,1")
    )
    with pytest.raises(ValueError, match=r"286943_0 has the split '1' and label2b '7'"):
        prepare_cmu_mosei(whole, tmp_path / "m")


def test_the_table_of_s3prl_is_read(shared):
    path = shared / "corpora/samples/cmu_mosei/derived/CMU_MOSEI_Labels.csv"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    clips = [clip_of(line, {}) for line in read_table(path, COLUMNS)]
    assert len(clips) == 15
    assert (clips[0].name, clips[0].split) == ("--qXJuDtHPw_0", "valid")
    assert {clip.rows["sentiment"]["sentiment"] for clip in clips} == set(
        SENTIMENTS.values()
    )
