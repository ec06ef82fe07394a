import pytest

from pengi_plugin.corpora.beijing_opera import CLASSES, prepare_beijing_opera


def build(tmp_path, write_audio):
    """Return the archive's folder with a stroke of each instrument."""
    folder = tmp_path / "beijing_opera_percussion_instrument_1.0"
    for number, instrument in enumerate(CLASSES, start=205971):
        write_audio(folder / f"{number}__ajaysm__{instrument}-01.wav")
    (folder / "205980__ajaysm__bangu-06.wav").write_text("")
    write_audio(folder / "205981__other__bangu-01.wav")
    return folder


official = pytest.fixture(build)


def test_a_stroke_has_its_instrument_and_its_number(official, tmp_path, read_rows):
    prepare_beijing_opera(official.parent, tmp_path / "m")
    rows = read_rows(tmp_path / "m", "test")
    name = "205972__ajaysm__daluo-01"
    assert rows[f"{name}_events"] == {
        "wav": f"{{data_root}}/{official.name}/{name}.wav",
        "duration": 0.05,
        "clip": name,
        "source": "freesound:205972",
        "task": "sound_events",
        "labels": ["daluo"],
        "instrument": "daluo",
    }
    assert [row["instrument"] for row in rows.values()] == CLASSES
    left_out = (tmp_path / "m" / "left_out.csv").read_text()
    assert "bangu-06.wav,empty file" in left_out


def test_a_second_preparation_does_nothing(official, tmp_path):
    prepare_beijing_opera(official, tmp_path / "m")
    before = (tmp_path / "m" / "test.json").stat().st_mtime_ns
    prepare_beijing_opera(official, tmp_path / "m")
    assert (tmp_path / "m" / "test.json").stat().st_mtime_ns == before


def test_a_folder_of_other_files_is_refused(tmp_path, write_audio):
    write_audio(tmp_path / "205981__other__bangu-01.wav")
    with pytest.raises(
        FileNotFoundError, match=r"205972__ajaysm__daluo-01\.wav and so"
    ):
        prepare_beijing_opera(tmp_path, tmp_path / "m")
