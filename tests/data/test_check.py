"""What is wrong with a folder of manifests is listed, each thing once."""

import json

import numpy as np
import pytest
import soundfile

from pengi_plugin.data.check import (
    KINDS,
    Lengths,
    check_folder,
    check_recording,
    token_fault,
)
from pengi_plugin.tasks import extend
from tests.doubles import Letters

RATE = 16000


def write_noise(path, seconds=1.0, rate=RATE, seed=None):
    """Write a noise that no file of another name has."""
    seed = sum(path.stem.encode()) if seed is None else seed
    noise = np.random.default_rng(seed).uniform(-0.1, 0.1, int(seconds * rate))
    soundfile.write(path, noise, rate, subtype="PCM_16")
    return path


def row(wav, **fields):
    return {"wav": wav, "duration": 1.0, "task": "captioning", "caption": "x", **fields}


def write_manifest(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows))


@pytest.fixture
def right(tmp_path):
    """Two corpora without a fault, one of them in CSV."""
    for corpus in ("birds", "cars"):
        (tmp_path / corpus).mkdir()
        for name in ("one", "two"):
            write_noise(tmp_path / corpus / f"{corpus}_{name}.wav")
    rows = {"1": row("birds_one.wav"), "2": row("birds_one.wav")}
    write_manifest(tmp_path / "birds" / "train.json", rows)
    write_manifest(tmp_path / "birds" / "test.json", {"1": row("birds_two.wav")})
    (tmp_path / "cars" / "train.csv").write_text(
        "ID,wav,duration,task,labels\n"
        "1,cars_one.wav,1.0,sound_events,car\n"
        '2,cars_two.wav,1.0,sound_events,"car,horn"\n'
    )
    (tmp_path / "cars" / "other.json").write_text("no manifest")
    return tmp_path


def test_a_folder_without_a_fault_has_none_and_all_of_it_is_read(right):
    report = check_folder(right)
    assert report.faults == []
    assert report.counts == {"manifests": 3, "rows": 5, "files": 4}
    assert report.summary() == []


def spoiled_wav(path, kind):
    """Write a file that is wrong in one way."""
    if kind == "empty":
        path.touch()
    elif kind == "not readable":
        path.write_text("this is no audio")
    elif kind == "truncated":
        write_noise(path)
        path.write_bytes(path.read_bytes()[:20000])
    elif kind == "NaN":
        wave = np.full(RATE, 0.1, np.float32)
        wave[-1] = np.inf
        soundfile.write(path, wave, RATE, subtype="FLOAT")
    elif kind == "silent":  # one channel takes the other away; and dither
        left = np.random.default_rng(0).uniform(-0.5, 0.5, RATE).round(3)
        soundfile.write(path, np.stack([left, -left], 1), RATE, subtype="FLOAT")
    elif kind == "odd rate":
        write_noise(path, rate=44056)
    elif kind == "too short":
        write_noise(path, seconds=0.05)
    elif kind == "too long":
        write_noise(path, seconds=2.5)


SPOILED = (
    *("missing", "empty", "not readable", "truncated", "NaN", "silent", "odd rate"),
    *("too short", "too long"),
)


@pytest.mark.parametrize("kind", SPOILED)
def test_a_file_that_is_wrong_is_listed_with_its_kind_and_name(right, kind):
    path = right / "cars" / "wrong.wav"
    spoiled_wav(path, kind)
    duration = {"too short": 0.05, "too long": 2.5}.get(kind, 1.0)
    rows = {"9": row("wrong.wav", duration=duration)}
    write_manifest(right / "cars" / "valid.json", rows)
    report = check_folder(right, Lengths(longest=2.0))
    (fault,) = report.faults
    assert (fault.kind, fault.name) == (kind, str(path))
    assert str(path) in fault.message
    (line,) = report.summary()
    assert (line["kind"], line["count"], line["of"]) == (kind, 1, "files")
    assert line["share"] == 1 / 5


def test_a_quiet_sound_is_not_silent(tmp_path):
    time = np.arange(RATE) / RATE
    tone = 10 ** (-66 / 20) * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "a.wav", tone, RATE, subtype="PCM_24")
    assert check_recording(tmp_path / "a.wav").faults == []
    soundfile.write(tmp_path / "a.wav", 0.1 * tone, RATE, subtype="PCM_24")
    assert [f.kind for f in check_recording(tmp_path / "a.wav").faults] == ["silent"]


def test_an_mp3_file_that_ends_before_its_header_says_is_truncated(tmp_path):
    path = tmp_path / "a.mp3"
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 20 * RATE)
    soundfile.write(path, noise, RATE)
    assert check_recording(path).faults == []
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert [fault.kind for fault in check_recording(path).faults] == ["truncated"]


def test_an_id_of_two_rows_and_a_row_that_cannot_be_used_are_listed(right):
    (right / "cars" / "valid.json").write_text(
        '{"1": {"wav": "cars_one.wav"}, '
        '"2": {"wav": "cars_one.wav", "duration": 1, "task": "captioning"}, '
        '"3": {"wav": "cars_one.wav", "duration": 1, "task": "wings", "n": 2}}'
    )
    rows = {"1": row("birds_one.wav")}
    text = json.dumps(rows)[:-1] + ", " + json.dumps(rows)[1:]
    (right / "birds" / "train.json").write_text(text)
    found = {(fault.kind, fault.name) for fault in check_folder(right).faults}
    assert found == {
        ("duplicate ID", "birds/1"),
        ("row", "cars/1"),
        ("row", "cars/2"),
        ("row", "cars/3"),
        # It is in train.csv too.
        ("shared between splits", str(right / "cars" / "cars_one.wav")),
    }
    templates = extend({"wings": {"prompt": "how many wings?", "answer": "{n}"}})
    known = check_folder(right, templates=templates)
    assert "cars/3" not in {fault.name for fault in known.faults}


def test_a_manifest_that_cannot_be_read_is_listed_and_the_others_are_read(right):
    (right / "birds" / "test.json").write_text("{")
    write_manifest(right / "cars" / "train.json", {"1": row("cars_one.wav")})
    report = check_folder(right)
    assert [(fault.kind, fault.name) for fault in report.faults] == [
        ("manifest", str(right / "cars" / "train")),  # both .json and .csv
        ("manifest", str(right / "birds" / "test.json")),
    ]
    assert report.counts["files"] == 3


def test_a_duration_that_is_not_the_files_is_listed_with_its_row(right):
    rows = {"7": row("birds_two.wav", duration=1.2), "8": row("birds_two.wav")}
    write_manifest(right / "birds" / "test.json", rows)
    (fault,) = check_folder(right).faults
    assert (fault.kind, fault.name) == ("other duration", "birds/7")
    assert "says 1.20 s" in fault.message
    assert "lasts 1.00 s" in fault.message


def test_the_same_bytes_under_two_names_are_listed_and_two_corpora_may_share_a_file(
    right,
):
    copy = right / "birds" / "copy.wav"
    copy.write_bytes((right / "birds" / "birds_one.wav").read_bytes())
    rows = {"1": row("birds_one.wav"), "2": row("copy.wav")}
    write_manifest(right / "birds" / "train.json", rows)
    rows = {"1": row("../birds/birds_one.wav")}
    write_manifest(right / "more" / "train.json", rows)
    (fault,) = check_folder(right).faults
    assert (fault.kind, fault.name) == ("duplicate audio", str(copy))
    assert fault.message.endswith("birds/birds_one.wav")


def test_a_clip_in_two_splits_is_listed_whatever_its_name_and_corpus(right):
    copy = right / "more" / "copy.wav"
    write_manifest(right / "more" / "test.json", {"1": row("copy.wav")})
    copy.write_bytes((right / "birds" / "birds_one.wav").read_bytes())
    faults = {fault.kind: fault for fault in check_folder(right).faults}
    assert faults.keys() == {"duplicate audio", "shared between splits"}
    message = faults["shared between splits"].message
    assert message.endswith("is in test of more, train of birds")


def test_texts_that_the_model_cannot_read_are_listed(right):
    rows = {"1": row("birds_one.wav"), "2": row("birds_one.wav", caption="rain falls")}
    write_manifest(right / "birds" / "train.json", rows)
    report = check_folder(
        right,
        answer_fault=lambda text: "too long" if " " in text else "",
        prompt_fault=lambda text: "unread" if "caption" not in text else "",
    )
    found = [(fault.kind, fault.name) for fault in report.faults]
    assert found == [
        ("long answer", "birds/2"),
        ("long prompt", "cars/1"),
        ("long answer", "cars/2"),  # "car, horn"
        ("long prompt", "cars/2"),
    ]


def test_an_answer_is_too_long_if_it_and_its_end_mark_have_too_many_tokens():
    assert token_fault("abcdef", Letters(), n_end=2, n_token=8) == ""
    fault = token_fault("abcdef", Letters(), n_end=2, n_token=7)
    assert fault == "8 tokens with the end mark, the model reads 7: 'abcdef'"


def test_every_kind_has_its_share_in_the_order_of_the_kinds(right):
    for kind in SPOILED:
        spoiled_wav(right / "cars" / f"{kind}.wav", kind)
    rows = {kind: row(f"{kind}.wav") for kind in SPOILED}
    write_manifest(right / "cars" / "valid.json", rows)
    summary = check_folder(right, Lengths(longest=2.0), n_worker=3).summary()
    kinds = [line["kind"] for line in summary]
    assert kinds == [k for k in KINDS if k in {*SPOILED, "other duration"}]
    assert summary[0] == {
        **{"kind": "other duration", "count": 2, "of": "rows", "share": 2 / 14},
        "names": ["cars/too short", "cars/too long"],
    }


def test_a_folder_without_manifests_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no train\.json, train\.csv"):
        check_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        check_folder(tmp_path / "nowhere")
