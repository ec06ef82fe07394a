import json
import logging
import os

import numpy as np
import pytest
import soundfile

from pengi_plugin.data.manifest import (
    check_audio,
    check_files,
    check_options,
    is_prepared,
    keep_manifests,
    write_manifests,
)

FORMATS = ("wav", "flac", "ogg")


@pytest.fixture(params=FORMATS)
def sound(request, tmp_path):
    """A noise of 1.5 s at 8 kHz."""
    path = tmp_path / f"noise.{request.param}"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 12000)
    soundfile.write(path, noise, 8000)
    return path


def test_a_whole_file_has_its_duration_and_no_reason(sound):
    assert check_audio(sound) == (pytest.approx(1.5, abs=1e-3), "")


@pytest.mark.parametrize("share", [0.6, 0.98])
def test_a_file_that_is_cut_off_is_found_out(sound, share):
    content = sound.read_bytes()
    sound.write_bytes(content[: int(len(content) * share)])
    duration, reason = check_audio(sound)
    assert duration == 0.0
    assert "truncated" in reason or "not readable" in reason


def test_an_ogg_file_that_lacks_its_last_page_is_found_out(tmp_path):
    path = tmp_path / "noise.ogg"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 80000)
    soundfile.write(path, noise, 8000)
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"OggS")])
    assert soundfile.info(path).frames > 0
    assert check_audio(path)[1].startswith("truncated after")


def test_a_file_of_another_length_than_it_should_have_is_found_out(sound):
    assert check_audio(sound, seconds=2.0) == (0.0, "lasts 1.50 s, not 2 s")
    assert check_audio(sound, seconds=1.45)[1] == ""


def test_missing_empty_and_foreign_files_each_have_their_reason(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("this is no audio")
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0), 8000)
    reasons = {
        name: check_audio(tmp_path / f"{name}.wav")[1]
        for name in ("absent", "empty", "text", "nothing")
    }
    assert reasons["absent"] == "missing"
    assert reasons["empty"] == "empty file"
    assert reasons["text"].startswith("not readable")
    assert reasons["nothing"] == "holds no samples"


def test_files_are_sorted_into_those_of_use_and_the_others(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(4000), 8000)
    durations, left_out = check_files([tmp_path / "a.wav", tmp_path / "b.wav"])
    assert durations == {str(tmp_path / "a.wav"): 0.5}
    assert left_out == {str(tmp_path / "b.wav"): "missing"}


SPLITS = {
    name: {f"{name}1": {"wav": "{data_root}/a.wav"}} for name in ("train", "valid")
}
SPLITS["test"] = {}


def test_what_is_left_out_is_listed_and_logged(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        write_manifests(tmp_path, SPLITS, "/data", {}, {"x.wav": "empty file"})
    expected = "wav,reason\nx.wav,empty file\n"
    assert (tmp_path / "left_out.csv").read_text() == expected
    assert "x.wav (empty file)" in caplog.text


def test_a_folder_is_prepared_for_the_same_arguments_only(tmp_path):
    arguments = {"seed": 1, "sizes": (2, 3)}
    (tmp_path / "a.wav").write_text("a sound")
    assert not is_prepared(tmp_path, arguments)
    write_manifests(tmp_path, SPLITS, tmp_path, arguments, {})
    assert is_prepared(tmp_path, arguments)
    assert not is_prepared(tmp_path, {"seed": 2, "sizes": (2, 3)})
    (tmp_path / "valid.json").unlink()
    assert not is_prepared(tmp_path, arguments)


@pytest.fixture
def prepared(tmp_path):
    """A prepared folder with one file, and three that were left out."""
    paths = {name: tmp_path / "audio" / f"{name}.wav" for name in "abcd"}
    (tmp_path / "audio").mkdir()
    for name in "acd":
        paths[name].write_text("a sound")
    paths["d"].write_bytes(b"")
    reasons = {"b": "missing", "c": "truncated after 1.00 s", "d": "empty file"}
    left_out = {str(paths[name]): reason for name, reason in reasons.items()}
    write_manifests(tmp_path, SPLITS, tmp_path / "audio", {}, left_out)
    assert is_prepared(tmp_path, {})
    return paths


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("a", lambda path: path.unlink()),
        ("a", lambda path: path.write_bytes(b"")),
        ("b", lambda path: path.write_text("a sound")),
        ("c", lambda path: path.write_text("a whole sound")),
        ("c", lambda path: path.unlink()),
        ("d", lambda path: path.write_text("a sound")),
    ],
    ids=["gone", "emptied", "found again", "repaired", "thrown away", "filled"],
)
def test_files_that_came_or_went_make_a_preparation_stale(
    prepared, tmp_path, name, change
):
    change(prepared[name])
    assert not is_prepared(tmp_path, {})


@pytest.mark.parametrize(
    ("name", "change"),
    [("a", lambda path: path.unlink()), ("b", lambda path: path.write_text("sound"))],
    ids=["gone", "found again"],
)
def test_a_run_that_goes_on_keeps_manifests_although_files_came_or_went(
    prepared, tmp_path, caplog, name, change
):
    change(prepared[name])
    with keep_manifests():
        assert is_prepared(tmp_path, {})
        assert not is_prepared(tmp_path, {"test_fold": 2})
        assert not is_prepared(tmp_path, {}, makes_files=True)
    assert str(prepared[name]) in caplog.text
    assert ("1 have gone or are empty" in caplog.text) == (name == "a")
    with keep_manifests(False):
        assert not is_prepared(tmp_path, {})
    assert not is_prepared(tmp_path, {})
    (tmp_path / "valid.json").write_text("{")
    with keep_manifests():
        assert not is_prepared(tmp_path, {})


def test_a_file_of_the_same_size_that_was_mended_makes_a_preparation_stale(
    prepared, tmp_path
):
    then = prepared["c"].stat()
    prepared["c"].write_text("A SOUND")
    os.utime(prepared["c"], ns=(then.st_atime_ns, then.st_mtime_ns + 10**9))
    assert not is_prepared(tmp_path, {})


def test_a_damaged_manifest_makes_a_preparation_stale(prepared, tmp_path):
    whole = (tmp_path / "valid.json").read_text()
    (tmp_path / "valid.json").write_text(whole[:-3])
    assert not is_prepared(tmp_path, {})


def test_a_record_of_an_older_version_makes_a_preparation_stale(prepared, tmp_path):
    record = json.loads((tmp_path / "prepared.json").read_text())
    del record["left_out"]
    (tmp_path / "prepared.json").write_text(json.dumps(record))
    assert not is_prepared(tmp_path, {})


def test_other_options_that_were_interrupted_are_not_taken_for_the_old_ones(
    prepared, tmp_path, monkeypatch
):
    """Otherwise the old record would stand beside new manifests."""

    def fail_at_the_last_manifest(source, target):
        if str(target).endswith("test.json"):
            raise KeyboardInterrupt
        rename(source, target)

    rename = os.replace
    monkeypatch.setattr(os, "replace", fail_at_the_last_manifest)
    with pytest.raises(KeyboardInterrupt):
        write_manifests(tmp_path, SPLITS, tmp_path / "audio", {"test_fold": 2}, {})
    assert not is_prepared(tmp_path, {})
    assert not is_prepared(tmp_path, {"test_fold": 2})


def test_options_that_differ_from_those_of_the_record_are_named(tmp_path):
    write_manifests(tmp_path, SPLITS, "/data", {"test_fold": 2, "seed": 0}, {})
    check_options(tmp_path, {"test_fold": 2, "data_folder": None})
    with pytest.raises(ValueError, match=r"prepared with test_fold=2, not 4\. Give"):
        check_options(tmp_path, {"test_fold": 4})
    check_options(tmp_path / "of your own", {"test_fold": 4})


def test_a_flac_file_without_a_length_has_the_duration_of_its_samples(tmp_path):
    path = tmp_path / "a.flac"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 12000)
    soundfile.write(path, noise, 8000)
    content = bytearray(path.read_bytes())
    # STREAMINFO: the low four bits of byte 21 and bytes 22 to 25 are the length.
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert soundfile.info(path).frames > 1 << 60
    assert check_audio(path) == (1.5, "")


def test_an_interrupted_preparation_leaves_no_record(tmp_path, monkeypatch):
    def fail_at_the_last_manifest(source, target):
        if str(target).endswith("test.json"):
            raise KeyboardInterrupt
        rename(source, target)

    rename = os.replace
    monkeypatch.setattr(os, "replace", fail_at_the_last_manifest)
    with pytest.raises(KeyboardInterrupt):
        write_manifests(tmp_path, SPLITS, "/data", {}, {})
    assert not is_prepared(tmp_path, {})
    assert not (tmp_path / "test.json").exists()


def test_a_corpus_with_nothing_to_train_on_is_an_error(tmp_path):
    splits = {"train": {}, "valid": {}, "test": {}}
    with pytest.raises(ValueError, match=r"No clip under /data .*left_out\.csv"):
        write_manifests(tmp_path, splits, "/data", {}, {"a.wav": "missing"})
    assert (tmp_path / "left_out.csv").is_file()
