import csv
import json
from collections import defaultdict

import numpy as np
import pytest
import soundfile

from pengi_plugin.corpora.esc50 import (
    ACTIONS,
    PHRASES,
    captions_of,
    prepare_esc50,
    sentences,
)

COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file", "take")


def build(tmp_path):
    """A folder in the official layout: 40 sources of two takes, folds 1 to 5."""
    folder = tmp_path / "ESC-50-master"
    (folder / "meta").mkdir(parents=True)
    (folder / "audio").mkdir()
    lines = []
    for source in range(40):
        for take in "AB":
            fold, target = source % 5 + 1, source % 50
            name = f"{fold}-{source}-{take}-{target}.wav"
            category = sorted(PHRASES)[target]
            lines.append((name, fold, target, category, False, source, take))
            soundfile.write(folder / "audio" / name, np.full(4000, 0.1), 800)
    write_meta(folder, lines)
    return folder


official = pytest.fixture(build)


def write_meta(folder, lines, columns=COLUMNS):
    with (folder / "meta" / "esc50.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *lines])


def load(folder):
    splits = ("train", "valid", "test")
    return {s: json.loads((folder / f"{s}.json").read_text()) for s in splits}


def test_the_held_out_fold_is_the_test_split(official, tmp_path):
    prepare_esc50(official, tmp_path / "m", test_fold=3, valid_fold=1)
    folds = {
        s: {row["fold"] for row in rows.values()}
        for s, rows in load(tmp_path / "m").items()
    }
    assert folds == {"train": {2, 4, 5}, "valid": {1}, "test": {3}}


def test_without_a_fold_for_it_validation_takes_whole_sources_of_training(
    official, tmp_path
):
    prepare_esc50(official, tmp_path / "m", test_fold=3)
    sources = defaultdict(set)
    for split, rows in load(tmp_path / "m").items():
        for row in rows.values():
            sources[split].add(row["clip"].split("-")[1])
    assert len(sources["test"]) == 8
    assert 1 <= len(sources["valid"]) <= 8
    assert not sources["valid"] & sources["train"]
    assert len(sources["train"]) + len(sources["valid"]) == 32


def test_a_recording_has_a_row_for_its_class_and_one_for_a_caption(official, tmp_path):
    prepare_esc50(official, tmp_path / "m", test_fold=1)
    rows = load(tmp_path / "m")["test"]
    category = sorted(PHRASES)[0]
    assert category == "airplane"
    events, caption = rows["1-0-A-0_events"], rows["1-0-A-0_caption"]
    assert (events["task"], events["labels"]) == ("sound_events", ["airplane"])
    assert events["wav"] == "{data_root}/audio/1-0-A-0.wav"
    assert events["duration"] == 5.0
    assert (events["fold"], events["source"]) == (1, "freesound:0")
    assert caption["task"] == "captioning"
    assert caption["caption"] in caption["references"]
    assert all("an airplane" in text for text in caption["references"])


def test_damaged_recordings_are_left_out_with_their_reasons(official, tmp_path):
    audio = official / "audio"
    (audio / "1-0-A-0.wav").unlink()
    (audio / "1-0-B-0.wav").write_bytes(b"")
    cut = audio / "2-1-A-1.wav"
    cut.write_bytes(cut.read_bytes()[:4000])
    soundfile.write(audio / "2-1-B-1.wav", np.zeros(800), 800)
    prepare_esc50(official, tmp_path / "m", test_fold=5)
    with (tmp_path / "m" / "left_out.csv").open(newline="") as file:
        reasons = {
            row["wav"].split("/")[-1]: row["reason"] for row in csv.DictReader(file)
        }
    assert reasons.pop("2-1-A-1.wav").startswith("truncated after 2.")
    assert reasons == {
        "1-0-A-0.wav": "missing",
        "1-0-B-0.wav": "empty file",
        "2-1-B-1.wav": "lasts 1.00 s, not 5 s",
    }
    rows = [row for rows in load(tmp_path / "m").values() for row in rows.values()]
    assert len(rows) == 2 * (80 - 4)


def test_a_second_preparation_does_nothing_and_another_fold_does(official, tmp_path):
    prepare_esc50(official, tmp_path / "m", test_fold=2)
    before = (tmp_path / "m" / "test.json").stat().st_mtime_ns
    prepare_esc50(official, tmp_path / "m", test_fold=2)
    assert (tmp_path / "m" / "test.json").stat().st_mtime_ns == before
    prepare_esc50(official, tmp_path / "m", test_fold=4)
    assert {row["fold"] for row in load(tmp_path / "m")["test"].values()} == {4}


def test_a_folder_that_is_not_esc50_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no .*esc50\.csv; give the folder"):
        prepare_esc50(tmp_path, tmp_path / "m")


def test_a_missing_column_a_foreign_class_and_a_wrong_fold_are_refused(
    official, tmp_path
):
    with pytest.raises(ValueError, match=r"test_fold must be one of \[1, .*; got 6"):
        prepare_esc50(official, tmp_path / "m", test_fold=6)
    with pytest.raises(ValueError, match="both 2"):
        prepare_esc50(official, tmp_path / "m", test_fold=2, valid_fold=2)
    write_meta(
        official,
        [("a.wav", 1, "unicorn", 3)],
        ("filename", "fold", "category", "src_file"),
    )
    with pytest.raises(ValueError, match=r"Line 2 of .* 'unicorn'"):
        prepare_esc50(official, tmp_path / "m")
    write_meta(official, [("a.wav", "rain", 3)], ("filename", "category", "src_file"))
    with pytest.raises(ValueError, match="no column fold"):
        prepare_esc50(official, tmp_path / "m")


def test_there_are_fifty_classes_and_all_their_sentences_are_told():
    texts = sentences()
    assert len(PHRASES) == 50
    assert "sea waves" in texts
    assert set(captions_of("dog")) <= set(texts)
    assert len(texts) == len(set(texts)) == 50 * 5


def test_the_real_recordings_are_all_whole(shared, tmp_path):
    folder = shared / "data" / "esc50"
    prepare_esc50(folder, tmp_path, test_fold=4)
    assert (tmp_path / "left_out.csv").read_text() == "wav,reason\n"
    splits = load(tmp_path)
    assert sum(len(rows) for rows in splits.values()) == 2 * 300
    with (folder / "meta" / "esc50.csv").open(newline="") as file:
        held_out = [row for row in csv.DictReader(file) if row["fold"] == "4"]
    assert len(splits["test"]) == 2 * len(held_out)
    sources = {
        split: {row["clip"].split("-")[1] for row in rows.values()}
        for split, rows in splits.items()
    }
    assert not sources["test"] & (sources["train"] | sources["valid"])


def test_actions_are_the_classes_of_the_official_group_of_people(shared, tmp_path):
    folder = shared / "data" / "esc50"
    with (folder / "meta" / "esc50.csv").open(newline="") as file:
        clips = list(csv.DictReader(file))
    people = {f["category"] for f in clips if 20 <= int(f["target"]) < 30}
    assert {name.replace("_", " ") for name in people} <= {*ACTIONS}
    others = {f["category"] for f in clips if not 20 <= int(f["target"]) < 30}
    assert not {name.replace("_", " ") for name in others} & {*ACTIONS}
    prepare_esc50(folder, tmp_path, test_fold=4)
    for rows in load(tmp_path).values():
        for row in rows.values():
            assert row["is_action"] == (20 <= int(row["clip"].split("-")[-1]) < 30)
