"""A file or folder is whole, or it is what it was before."""

import json
import os

import pytest

from pengi_plugin.storage.atomic import new_file, new_folder, write_file


def test_a_file_takes_the_place_of_another_whole(tmp_path):
    path = tmp_path / "a.json"
    write_file(path, "old")
    write_file(str(path), json.dumps({"ä": 1}, ensure_ascii=False))
    assert json.loads(path.read_text(encoding="utf-8")) == {"ä": 1}
    write_file(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def write_half(path):
    """Write to a disk that is full before the end."""
    path.write_text("half of it")
    raise OSError("disk is full")


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(OSError, match="disk is full"), new_file(path) as unfinished:
        write_half(unfinished)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("content", ["new", b"new"])
def test_content_that_does_not_fit_leaves_the_old_file(content, tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")

    def half(path, content):
        with open(path, "wb") as file:
            file.write(content[:1])
        raise OSError("disk is full")

    monkeypatch.setattr("pathlib.Path.write_bytes", half)
    with pytest.raises(OSError, match="disk is full"):
        write_file(path, content)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_until_the_writer_has_finished_the_old_file_is_there(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with new_file(path) as unfinished:
        unfinished.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_others_may_read_a_file_whatever_its_writer_allowed(tmp_path):
    (tmp_path / "usual").touch()
    with new_file(tmp_path / "file") as unfinished:
        unfinished.unlink()  # as safetensors does it: a file of its own
        os.close(os.open(unfinished, os.O_CREAT | os.O_WRONLY, 0o600))
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_folder_that_fails_leaves_the_old_one_and_nothing_else(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "hyperparams.yaml").write_text("old")
    replacing = new_folder(path, replaces="hyperparams.yaml")
    with pytest.raises(OSError, match="disk is full"), replacing as unfinished:
        write_half(unfinished / "hyperparams.yaml")
    assert (path / "hyperparams.yaml").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_folder_is_there_again_if_the_new_one_cannot_be_named(tmp_path, monkeypatch):
    path = tmp_path / "model"
    path.mkdir()
    (path / "hyperparams.yaml").write_text("old")
    rename = type(path).rename

    def fail(self, target):
        if self.name.endswith(".unfinished"):
            raise OSError("disk is full")
        return rename(self, target)

    monkeypatch.setattr(type(path), "rename", fail)
    replacing = new_folder(path, replaces="hyperparams.yaml")
    with pytest.raises(OSError, match="disk is full"), replacing:
        pass
    assert (path / "hyperparams.yaml").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_new_folder_keeps_subfolders_that_can_be_entered(tmp_path):
    with new_folder(tmp_path / "model") as unfinished:
        (unfinished / "sub").mkdir()
        (unfinished / "sub" / "file").write_text("whole")
    assert (tmp_path / "model" / "sub").stat().st_mode & 0o100
    assert (tmp_path / "model" / "sub" / "file").read_text() == "whole"


@pytest.mark.parametrize("replaces", [None, "hyperparams.yaml"])
def test_a_folder_that_holds_something_else_is_never_replaced(tmp_path, replaces):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    writing = new_folder(tmp_path / "mine", replaces)
    with pytest.raises(FileExistsError, match="there already and not empty"), writing:
        pass
    assert (tmp_path / "mine" / "notes.txt").read_text() == "precious"


def test_two_writers_of_one_process_number_write_two_files(tmp_path):
    path = tmp_path / "file"
    with new_file(path) as one, new_file(path) as other:
        one.write_text("one")
        other.write_text("other")
        assert one.read_text() == "one"
