"""A model is known by its files, or by its commit on the hub."""

import pytest

from pengi_plugin.storage.fingerprint import fingerprint


def test_a_model_is_known_by_what_its_files_hold(tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lm.safetensors").write_bytes(name[:1].encode())
    one, two, three = (fingerprint(tmp_path / name) for name in ("one", "two", "three"))
    assert one != two
    assert two == three
    assert fingerprint(f"{tmp_path}/one/") == one


def test_a_model_in_the_home_folder_is_known_by_its_files(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "lm.safetensors").write_bytes(b"one")
    first = fingerprint("~/model")
    (tmp_path / "model" / "lm.safetensors").write_bytes(b"two")
    assert fingerprint("~/model") != first


def test_a_model_on_the_hub_is_known_by_its_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "pengi_plugin.storage.fingerprint.download",
        lambda repository, file: tmp_path / "snapshots" / "0a1b" / file,
    )
    assert fingerprint("owner/model") == "owner/model@0a1b"


def test_a_model_that_is_not_there_has_no_fingerprint(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        fingerprint(str(tmp_path / "absent"))
