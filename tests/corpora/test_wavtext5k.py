import pytest

from pengi_plugin.corpora.wavtext5k import prepare_wavtext5k
from pengi_plugin.data.preparation import read_table

TABLE = (
    "view_link,download_link,title,description,fname,tags\r\n"
    "https://bigsoundbank.com/detail-0100.html,x,Forest,,0100.wav,\r\n"
    'https://bigsoundbank.com/detail-0101.html,x,"Rain\r\n 2","",0101.wav,\r\n'
    "https://bigsoundbank.com/detail-0102.html,x,,,0102.wav,\r\n"
    'https://soundbible.com/2219-A.html,x,A," Loud, caf\u00e9.",a b_0.wav,"[\'"\r\n'
    "https://soundbible.com/2220-B.html,x,B, Lost,b_1.wav,[]\r\n"
)


def build(tmp_path, write_audio):
    folder = tmp_path / "WavText5K"
    folder.mkdir()
    (folder / "WavText5K.csv").write_bytes(TABLE.encode())
    for name in ("0100", "0101", "0102", "a b_0"):
        write_audio(folder / "Webcrawl" / "44100" / "audios" / f"{name}.wav")
    return folder


official = pytest.fixture(build)


def test_the_description_is_the_text_else_the_title(official, tmp_path, read_rows):
    prepare_wavtext5k(official, tmp_path / "m")
    rows = read_rows(tmp_path / "m", "train")
    assert {row["source"]: row["metadata"] for row in rows.values()} == {
        "bigsoundbank:0100": "Forest",
        "bigsoundbank:0101": "Rain 2",
        "soundbible:2219": " Loud, caf\u00e9.",
    }
    assert rows["a b_0_metadata_1"]["wav"] == (
        "{data_root}/Webcrawl/44100/audios/a b_0.wav"
    )
    assert rows["a b_0_metadata_1"]["task"] == "metadata"
    left_out = (tmp_path / "m" / "left_out.csv").read_text()
    assert left_out == "wav,reason\nb_1,missing\n"


def test_audio_can_be_taken_at_another_rate(official, tmp_path, read_rows, write_audio):
    folder = official / "Webcrawl" / "16000"
    write_audio(folder / "audios" / "0100.wav")
    prepare_wavtext5k(official, tmp_path / "m", audio_folder=str(folder))
    (row,) = read_rows(tmp_path / "m", "train").values()
    assert row["wav"] == "{data_root}/Webcrawl/16000/audios/0100.wav"


def test_a_second_preparation_does_nothing_and_a_wrong_folder_is_refused(
    official, tmp_path
):
    prepare_wavtext5k(official, tmp_path / "m")
    before = (tmp_path / "m" / "train.json").stat().st_mtime_ns
    prepare_wavtext5k(official, tmp_path / "m")
    assert (tmp_path / "m" / "train.json").stat().st_mtime_ns == before
    with pytest.raises(FileNotFoundError, match=r"no WavText5K\.csv in"):
        prepare_wavtext5k(official / "Webcrawl", tmp_path / "n")


def test_the_real_first_rows_are_read(shared, tmp_path, write_audio, read_rows):
    folder = shared / "corpora" / "samples" / "wavtext5k"
    for line in read_table(folder / "WavText5K.csv", ["fname"]):
        write_audio(tmp_path / "audio" / line["fname"])
    prepare_wavtext5k(folder, tmp_path / "m", audio_folder=str(tmp_path / "audio"))
    rows = read_rows(tmp_path / "m", "train")
    assert len(rows) == 16
    assert rows["0595_metadata_1"]["metadata"] == "Wind"
    row = rows["alien spaceship ufo_5_metadata_1"]
    assert row["source"] == "soundbible:2213"
    assert row["metadata"].startswith(" UFO or Alien Spacecraft ambience. Sound")
