import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pengi_plugin.data.manifest import check_audio, is_prepared, read_manifest
from pengi_plugin.data.preparation import (
    Clip,
    Corpus,
    find_audio,
    find_file,
    find_split_files,
    read_table,
    text_rows,
    write_corpus,
)

TONES = Corpus(
    name="tones",
    title="Tones",
    tasks=("captioning",),
    clips={"train": 3, "test": 2},
    hours=0.1,
    licence="CC BY 4.0",
    home="https://example.org",
    use="none",
    citation="Nobody, Tones, 2026",
)


@pytest.fixture
def data(tmp_path):
    """Return a folder with three good files, one cut off and one that is no audio."""
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    for name in ("a", "deep/b", "c", "cut"):
        soundfile.write(folder / f"{name}.wav", np.zeros(4000) + 0.1, 8000)
    whole = (folder / "cut.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[:2000])
    (folder / "words.wav").write_text("no audio")
    return folder


def clip(data, name, split="train", **options):
    rows = {"caption": {"task": "captioning", "caption": f"tone {name}"}}
    return Clip(name, split, find_audio(data).get(name), rows, **options)


def test_files_are_found_below_a_folder_by_their_names(data):
    (data / ".hidden.wav").write_text("")
    found = find_audio(data)
    assert {
        name: path.relative_to(data).as_posix() for name, path in found.items()
    } == {
        **{name: f"{name}.wav" for name in ("a", "c", "cut", "words")},
        "b": "deep/b.wav",
    }


def test_files_are_found_by_what_a_function_makes_of_their_paths(data):
    found = find_audio(data, lambda path: path.as_posix() if path.stem < "b" else None)
    assert found == {"a.wav": data / "a.wav"}


def test_of_several_files_the_first_that_is_there_is_taken(tmp_path):
    (tmp_path / "old.csv").write_text("")
    assert find_file(tmp_path, "new.csv", "old.csv", what="X") == tmp_path / "old.csv"
    with pytest.raises(FileNotFoundError, match=r"no a or b/c in .*the folder of X\."):
        find_file(tmp_path, "a", "b/c", what="X")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_a_table_is_read_in_any_of_three_encodings(tmp_path, encoding):
    path = tmp_path / "table.csv"
    text = 'name,words\r\n1,"it\u2019s a, b"\r\n2,"two\nlines"\r\n'
    path.write_bytes(text.encode(encoding))
    assert read_table(path, ["name", "words"]) == [
        {"name": "1", "words": "it\u2019s a, b"},
        {"name": "2", "words": "two\nlines"},
    ]
    with pytest.raises(ValueError, match="no column label; its columns are name, wor"):
        read_table(path, ["name", "label"])


def test_a_git_lfs_pointer_is_named(tmp_path):
    path = tmp_path / "a.wav"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert check_audio(path)[1].startswith("a Git LFS pointer")


def test_what_can_be_used_is_written_and_the_rest_named(data, tmp_path, caplog):
    folder = tmp_path / "manifests"
    clips = [
        clip(data, "a", source="freesound:7", fields={"fold": 2}),
        clip(data, "cut"),
        clip(data, "lost"),
        clip(data, "b", split="test"),
        clip(data, "words", split="test"),
    ]
    with caplog.at_level(logging.INFO):
        write_corpus(TONES, clips, data, folder, {"version": 1})
    assert json.loads((folder / "train.json").read_text()) == {
        "a_caption": {
            "wav": "{data_root}/a.wav",
            "duration": 0.5,
            "clip": "a",
            "fold": 2,
            "source": "freesound:7",
            "task": "captioning",
            "caption": "tone a",
        }
    }
    (row,) = read_manifest(folder / "test.json", "tones").values()
    assert Path(row["wav"]) == data / "deep" / "b.wav"
    assert not (folder / "valid.json").exists()
    assert "Tones, train: 1 of 3 clips can be used (33.3%); the complete" in caplog.text
    assert "Tones: 1 missing: lost." in caplog.text
    assert "cut.wav" in (folder / "left_out.csv").read_text()
    assert is_prepared(folder, {"version": 1})
    assert not is_prepared(folder, {"version": 2})


def test_a_clip_that_was_not_found_and_is_there_now_is_prepared_again(data, tmp_path):
    folder = tmp_path / "manifests"
    write_corpus(TONES, [clip(data, "a"), clip(data, "lost")], data, folder, {})
    assert is_prepared(folder, {})
    (data / "notes.txt").write_text("no audio")
    assert is_prepared(folder, {})
    (data / "deep" / "lost.flac").write_text("a sound")
    assert not is_prepared(folder, {})
    write_corpus(TONES, [clip(data, "a")], data, folder, {})
    (data / "one_more.wav").write_text("of no concern where all was found")
    assert is_prepared(folder, {})


def test_metadata_are_found_up_to_two_folders_below(tmp_path):
    deep = tmp_path / "a" / "b" / "meta.csv"
    deep.parent.mkdir(parents=True)
    deep.write_text("")
    names = ("list.txt", "meta.csv")
    assert find_file(tmp_path, *names, what="X") == deep
    assert find_file(tmp_path, "b/meta.csv", what="X") == deep
    (tmp_path / "list.txt").write_text("")
    assert find_file(tmp_path, *names, what="X") == tmp_path / "list.txt"
    with pytest.raises(FileNotFoundError, match=r"no x\.csv or y\.csv in .*a; give"):
        find_file(tmp_path / "a", "x.csv", "y.csv", what="X")


def test_each_split_has_its_list_or_is_named(tmp_path, caplog):
    names = {"train": ["x/train.csv", "train.csv"], "test": ["test.csv"]}
    with pytest.raises(
        FileNotFoundError, match=r"no x/train\.csv or train\.csv or test\.csv in .*of X"
    ):
        find_split_files(tmp_path, names, "X")
    (tmp_path / "train.csv").write_text("")
    found = find_split_files(tmp_path, names, "X")
    assert found == {"train": tmp_path / "train.csv"}
    assert "split test is left out. There is no test.csv" in caplog.text


def test_each_text_of_a_training_clip_is_a_row_and_others_have_one():
    texts = ["a dog", " ", "barks"]
    assert text_rows(texts, "train", "metadata") == {
        f"metadata_{n}": {
            "task": "metadata",
            "metadata": text,
            "references": ["a dog", "barks"],
        }
        for n, text in ((1, "a dog"), (2, "barks"))
    }
    assert list(text_rows(texts, "valid")) == ["caption"]
    assert text_rows([""], "test") == {}
    with pytest.raises(ValueError, match=r"one of \['captioning', .* got 'talk'"):
        text_rows(texts, "test", "talk")


def test_a_corpus_whose_test_audio_alone_is_there_is_for_testing(
    data, tmp_path, caplog
):
    folder = tmp_path / "m"
    clips = [clip(data, "lost"), clip(data, "a", split="test")]
    corpus = replace(TONES, clips={"train": 3, "valid": 1, "test": 2})
    clips.append(clip(data, "lost too", split="valid"))
    write_corpus(corpus, clips, data, folder, {})
    assert list(read_manifest(folder / "test.json", "t")) == ["t/a_caption"]
    assert not (folder / "train.json").exists()
    assert not (folder / "valid.json").exists()
    assert "no audio file for training was found" in caplog.text
    assert is_prepared(folder, {})


def test_a_restricted_licence_is_named(data, tmp_path, caplog):
    restricted = replace(TONES, licence="CC BY-NC 3.0")
    write_corpus(restricted, [clip(data, "a")], data, tmp_path / "m", {})
    assert "restricted: CC BY-NC 3.0" in caplog.text
    assert not TONES.is_restricted


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        ([("a", "train"), ("a", "train")], "1 clips have the name of another"),
        ([("a", "valid")], r"has no split \['valid'\]"),
        ([("lost", "train")], "No clip under .* can be used for training"),
    ],
)
def test_clips_that_cannot_be_a_corpus_are_refused(data, tmp_path, clips, message):
    clips = [clip(data, name, split) for name, split in clips]
    with pytest.raises(ValueError, match=message):
        write_corpus(TONES, clips, data, tmp_path / "m", {})
    assert not (tmp_path / "m" / "prepared.json").exists()
