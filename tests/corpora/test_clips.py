import json

import pytest

from pengi_plugin.corpora.clips import prepare_clips
from pengi_plugin.data.manifest import read_manifest


def build(tmp_path, write_audio):
    """Return a folder of audio, with a table as the notes of FindSounds have it."""
    folder = tmp_path / "clips"
    for name in ("a.wav", "deep/b.v2.flac", "c.ogg"):
        write_audio(folder / name)
    (folder / "clips.csv").write_bytes(
        '\ufefffile_name,text\r\na.wav,"Dogs, caf\u00e9"\r\n'.encode()
        + b"b.v2.wav,A cat\r\na.wav,barks\r\nlost.wav,x\r\nc.ogg, \r\n"
    )
    return folder


folder = pytest.fixture(build)


def test_a_table_of_files_and_texts_is_enough(folder, tmp_path, read_rows, caplog):
    prepare_clips(folder, tmp_path / "m")
    assert read_rows(tmp_path / "m", "train") == {
        f"{name}_metadata_{n}": {
            "wav": f"{{data_root}}/{path}",
            "duration": 0.05,
            "clip": name,
            "task": "metadata",
            "metadata": text,
        }
        for name, n, path, text in (
            ("a.wav", 1, "a.wav", "Dogs, caf\u00e9"),
            ("a.wav", 2, "a.wav", "barks"),
            ("b.v2.wav", 1, "deep/b.v2.flac", "A cat"),
        )
    }
    assert "1 lines have no text" in caplog.text
    assert "lost.wav,missing" in (tmp_path / "m" / "left_out.csv").read_text()
    assert not (tmp_path / "m" / "test.json").exists()


def test_columns_splits_and_separators_are_options(folder, tmp_path, read_rows):
    table = tmp_path / "mine.tsv"
    table.write_text(
        "name\tclass\tpart\tfrom\n"
        "a\tBark; Dog, small\tdev\tfreesound:7\nc\tRain\tEval\t\n"
    )
    options = {"csv": str(table), "wav_column": "name", "text_column": "class"}
    options |= {"task": "sound_events", "split_column": "part", "delimiter": "tab"}
    options |= {"source_column": "from"}
    prepare_clips(folder, tmp_path / "m", **options)
    (row,) = read_rows(tmp_path / "m", "train").values()
    assert (row["labels"], row["source"]) == (["Bark; Dog, small"], "freesound:7")
    assert list(read_rows(tmp_path / "m", "test")) == ["c_sound_events_1"]
    prepare_clips(folder, tmp_path / "m", **options, separator=";")
    (row,) = read_manifest(tmp_path / "m" / "train.json", "m").values()
    assert row["labels"] == ["Bark", "Dog, small"]
    table.write_text(table.read_text().replace("class", "class[,]"))
    prepare_clips(folder, tmp_path / "m", **{**options, "text_column": "class[,]"})
    (row,) = read_manifest(tmp_path / "m" / "train.json", "m").values()
    assert row["labels"] == ["Bark; Dog", "small"]


def test_a_task_of_several_fields_names_its_columns(folder, tmp_path, read_rows):
    (folder / "q.csv").write_text("file_name,Q,A\na.wav,Is it loud?,yes\n")
    fields = ("question=Q", "answer=A")
    options = {"csv": "q.csv", "task": "question_answering"}
    prepare_clips(folder, tmp_path / "m", **options, fields=fields)
    (row,) = read_rows(tmp_path / "m", "train").values()
    assert (row["question"], row["answer"]) == ("Is it loud?", "yes")
    with pytest.raises(ValueError, match=r"'question_answering' needs its columns"):
        prepare_clips(folder, tmp_path / "m", **options)
    with pytest.raises(ValueError, match=r"pairs as question=.*; got \['Q'\]"):
        prepare_clips(folder, tmp_path / "m", **options, fields=("Q",))


def test_a_changed_table_is_read_again(folder, tmp_path, read_rows):
    prepare_clips(folder, tmp_path / "m")
    before = (tmp_path / "m" / "train.json").stat().st_mtime_ns
    prepare_clips(folder, tmp_path / "m")
    assert (tmp_path / "m" / "train.json").stat().st_mtime_ns == before
    (folder / "clips.csv").write_text("file_name,text\nc.ogg,Rain\n")
    prepare_clips(folder, tmp_path / "m")
    assert list(read_rows(tmp_path / "m", "train")) == ["c.ogg_metadata_1"]


def test_a_table_that_is_not_there_or_lacks_a_column_is_refused(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no .*x\.csv and no x\.csv; give"):
        prepare_clips(folder, tmp_path / "m", csv="x.csv")
    with pytest.raises(ValueError, match="has no column caption; its columns are file"):
        prepare_clips(folder, tmp_path / "m", text_column="caption")
    with pytest.raises(ValueError, match="has the split 'Dogs, caf\u00e9'; known are"):
        prepare_clips(folder, tmp_path / "m", split_column="text")


def test_the_command_takes_the_options(folder, tmp_path):
    from pengi_plugin.__main__ import main

    arguments = ["prepare", "clips", str(folder), str(tmp_path / "m"), "--csv"]
    main([*arguments, "clips.csv", "--fields", "caption=text", "--task", "captioning"])
    rows = json.loads((tmp_path / "m" / "train.json").read_text())
    assert rows["a.wav_captioning_2"]["caption"] == "barks"
