import csv
import io

import pytest

from pengi_plugin.corpora.clotho import prepare_clotho
from pengi_plugin.data.preparation import read_table

HEAD = ("file_name", *(f"caption_{n}" for n in range(1, 6)))
CAPTIONS = ["Rain pours, hard.", " Wind ", "It rains", "Thunder claps.", "Water"]
META = "file_name,keywords,sound_id,sound_link,start_end_samples,manufacturer,license\n"


def table(*names):
    text = io.StringIO(newline="")
    csv.writer(text).writerows([HEAD, *([name, *CAPTIONS] for name in names)])
    return text.getvalue()


def build(tmp_path, write_audio):
    folder = tmp_path / "clotho"
    folder.mkdir()
    files = {
        "development": ("121006_rain&amp;storm.wav", "a, b (1).wav", "lost.wav"),
        "validation": (" Ambience.02.wav",),
        "evaluation": ("a, b (1).wav",),
    }
    for split, names in files.items():
        path = folder / f"clotho_captions_{split}.csv"
        path.write_text(table(*names), newline="")
        for name in set(names) - {"lost.wav"}:
            write_audio(folder / split / name)
    (folder / "development" / "a, b (1).wav").write_bytes(b"RIFF")
    (folder / "clotho_metadata_development.csv").write_bytes(
        META.encode()
        + b'121006_rain&amp;storm.wav,rain;caf\xe9,7,link,"[1, 2]",Jos\xe9,url\n'
        + b'"a, b (1).wav",rain,Not found,NA,,B,url\n'
    )
    return folder


official = pytest.fixture(build)


def test_a_caption_is_a_row_in_training_and_all_five_are_in_the_test(
    official, tmp_path, read_rows
):
    prepare_clotho(official, tmp_path / "m")
    train = read_rows(tmp_path / "m", "train")
    assert list(train) == [f"121006_rain&amp;storm_caption_{n}" for n in range(1, 6)]
    assert train["121006_rain&amp;storm_caption_2"] == {
        "wav": "{data_root}/development/121006_rain&amp;storm.wav",
        "duration": 0.05,
        "clip": "121006_rain&amp;storm",
        "source": "freesound:7 clotho:121006_rain_amp_storm",
        "task": "captioning",
        "caption": " Wind ",
        "references": CAPTIONS,
    }
    (row,) = read_rows(tmp_path / "m", "valid").values()
    assert row["wav"] == "{data_root}/validation/ Ambience.02.wav"
    assert row["references"] == CAPTIONS
    (row,) = read_rows(tmp_path / "m", "test").values()
    assert row["wav"] == "{data_root}/evaluation/a, b (1).wav"
    assert row["source"] == "clotho:a_b_1_"
    left_out = (tmp_path / "m" / "left_out.csv").read_text()
    assert "lost,missing" in left_out
    assert "development/a, b (1).wav" in left_out


def test_trees_of_others_and_audio_elsewhere_are_read(
    official, tmp_path, read_rows, write_audio
):
    tree = tmp_path / "CLOTHO_v2.1"
    (tree / "clotho_csv_files").mkdir(parents=True)
    (tree / "clotho_csv_files" / "clotho_captions_development.csv").write_text(
        table("x.wav")
    )
    write_audio(tree / "clotho_audio_files" / "development" / "x.wav")
    copy = tmp_path / "Clotho" / "csv_files"
    copy.mkdir(parents=True)
    (copy / "train.csv").write_text(table("x.wav"))
    prepare_clotho(tmp_path / "CLOTHO_v2.1", tmp_path / "m")
    prepare_clotho(copy.parent, tmp_path / "n", audio_folder=str(tree))
    for folder in "m", "n":
        assert len(read_rows(tmp_path / folder, "train")) == 5


def test_a_second_preparation_does_nothing_and_a_wrong_folder_is_refused(
    official, tmp_path
):
    prepare_clotho(official, tmp_path / "m")
    before = (tmp_path / "m" / "train.json").stat().st_mtime_ns
    prepare_clotho(official, tmp_path / "m")
    assert (tmp_path / "m" / "train.json").stat().st_mtime_ns == before
    with pytest.raises(FileNotFoundError, match=r"clotho_captions_development\.csv or"):
        prepare_clotho(official / "development", tmp_path / "n")


def test_the_real_first_rows_are_read(shared, tmp_path, write_audio, read_rows):
    folder = shared / "corpora" / "samples" / "clotho"
    for split in ("development", "validation", "evaluation"):
        lines = read_table(folder / f"clotho_captions_{split}.csv", HEAD)
        for line in lines:
            write_audio(tmp_path / "audio" / split / line["file_name"])
    prepare_clotho(folder, tmp_path / "m", audio_folder=str(tmp_path / "audio"))
    assert (tmp_path / "m" / "left_out.csv").read_text() == "wav,reason\n"
    rows = read_rows(tmp_path / "m", "test")
    assert len(rows) == len(lines)
    assert rows["Santa Motor_caption"]["source"] == (
        "freesound:116638 clotho:santa_motor"
    )
    assert rows["Santa Motor_caption"]["references"][1] == (
        "A person is using electric clippers to trim bushes."
    )
