"""Which corpora a YAML trains on, with which shares, and without which rows."""

import json
import logging
import re
from pathlib import Path

import pytest

from pengi_plugin.data.manifest import write_manifests
from pengi_plugin.training.identity import check_same_run
from pengi_plugin.training.mixture import (
    chosen_corpora,
    find_corpora,
    hold_out_valid,
    keep_tasks,
    leave_out_test_clips,
    mixture_table,
    prepare_held_out,
    read_splits,
    recordings_of,
    remarks_on,
    settle_shares,
)
from pengi_plugin.training.run import describe, prepare

PREPARED = []


def note(data_folder, manifest_folder):
    """Stand in for the preparation of a corpus."""
    PREPARED.append((data_folder, manifest_folder))


@pytest.fixture
def hparams(tmp_path):
    """Two known corpora, of which one is there, and clips of the user's own."""
    for name in ("CLOTHO_v2.1", "other"):
        (tmp_path / "data" / name).mkdir(parents=True)
    return {
        "corpora": None,
        "data_root": str(tmp_path / "data"),
        "data_folder": str(tmp_path / "m"),
        "known_corpora": {
            "clotho": {"folders": ["Clotho", "Clotho_v2*"], "prepare": note},
            "macs": {"folders": ["MACS"], "prepare": note},
            "clips": {"manifest_folder": None},
        },
    }


def test_corpora_are_found_by_folder_names_in_any_case(hparams, tmp_path):
    corpora = chosen_corpora(hparams)
    assert list(corpora) == ["clotho"]
    assert corpora["clotho"]["manifest_folder"] == str(tmp_path / "m" / "clotho")
    PREPARED.clear()
    corpora["clotho"]["prepare"]()
    (folders,) = PREPARED
    assert folders == (
        str(tmp_path / "data" / "CLOTHO_v2.1"),
        str(tmp_path / "m" / "clotho"),
    )
    hparams["known_corpora"]["clips"]["manifest_folder"] = "mine"
    assert list(chosen_corpora(hparams)) == ["clotho", "clips"]
    for names in ("clips", ["clips"]):
        assert list(chosen_corpora({**hparams, "corpora": names})) == ["clips"]


def test_a_corpus_that_is_named_or_all_that_are_absent_are_an_error(hparams, tmp_path):
    with pytest.raises(ValueError, match=r"corpora names \['clotto'\]; known"):
        chosen_corpora({**hparams, "corpora": "clotto, macs"})
    with pytest.raises(FileNotFoundError, match=r"^macs: not found\. .*\['MACS'\]"):
        chosen_corpora({**hparams, "corpora": "clotho,macs"})
    with pytest.raises(FileNotFoundError, match="clotho, macs, clips: not found"):
        chosen_corpora({**hparams, "data_root": None})
    with pytest.raises(FileNotFoundError, match="data_root is /no/such, which is no"):
        find_corpora(hparams["known_corpora"], "/no/such", "m")


def test_a_mapping_of_corpora_is_taken_as_it_stands():
    corpora = {"a": {"manifest_folder": "m"}, "b": {"source": None}}
    assert chosen_corpora({"corpora": corpora}) == {"a": corpora["a"]}


def rows_of(corpus, n, first=0, seconds=1.0, **fields):
    return {
        f"{corpus}/{i}": {"wav": f"{corpus}{i}.wav", "duration": seconds}
        | {"corpus": corpus, "task": "x"}
        | {key: value.format(i) for key, value in fields.items()}
        for i in range(first, first + n)
    }


def test_training_rows_of_test_recordings_go_and_are_counted(caplog):
    train = rows_of("a", 4, source="freesound:{}") | rows_of("b", 2, source="bbc:{}")
    rows = {"train": dict(train), "test": rows_of("c", 2, 1, source="freesound:{}")}
    sets = [("bbc set", rows_of("d", 1, 1, source="bbc:{}"))]
    kept = {"train": dict(train), "test": rows["test"]}
    leave_out_test_clips(kept, sets, keep=True)
    assert "a                c         2" in caplog.text
    assert "3 of 6 training rows" in caplog.text
    assert "are kept" in caplog.text
    caplog.clear()
    leave_out_test_clips(rows, sets)
    assert list(rows["train"]) == ["a/0", "a/3", "b/0"]
    assert kept["train"] == train
    assert "3 of 6 training rows" in caplog.text
    assert "are left out" in caplog.text
    assert "b                bbc set   1" in caplog.text
    assert describe(rows)["train rows"] != describe(kept)["train rows"]
    everything = [("all", rows_of("e", 4, source="freesound:{}"))]
    with pytest.raises(ValueError, match=r"All training rows of a hold recordings"):
        leave_out_test_clips({"train": train, "test": {}}, everything)


def test_validation_is_held_out_by_recording_where_there_is_none(caplog):
    train = rows_of("a", 400, source="youtube:{}:1")
    train |= {f"{key}_again": row for key, row in train.items()}
    rows = {"train": dict(train), "valid": {}}
    hold_out_valid(rows, 0.1)
    assert rows["train"].keys() | rows["valid"].keys() == train.keys()
    assert not rows["train"].keys() & rows["valid"].keys()
    assert 0.05 < len(rows["valid"]) / len(train) < 0.2
    split = {key.removesuffix("_again") for key in rows["valid"]}
    assert len(rows["valid"]) == 2 * len(split)
    assert "No corpus has validation rows" in caplog.text
    backwards = {"train": dict(reversed(train.items())), "valid": {}}
    hold_out_valid(backwards, 0.1)
    assert backwards["valid"] == rows["valid"]

    given = {"train": dict(train), "valid": {"a/1": train["a/1"]}}
    hold_out_valid(given, 0.1)
    assert (len(given["train"]), len(given["valid"])) == (800, 1)
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match=f"valid_share={share:g} of the 800"):
            hold_out_valid({"train": dict(train), "valid": {}}, share)


def test_a_recording_without_source_is_known_by_its_files_name():
    assert recordings_of({"wav": "/here/a.wav"}) == recordings_of({"wav": "/b/a.wav"})


def test_rows_that_share_any_source_stay_on_one_side():
    train = rows_of("a", 200, source="clotho:{0} freesound:{0}")
    train |= rows_of("b", 200, source="freesound:{}")
    rows = {"train": dict(train), "valid": {}}
    hold_out_valid(rows, 0.3)
    sides = {"train": set(), "valid": set()}
    for split, numbers in sides.items():
        numbers |= {row_id.split("/")[1] for row_id in rows[split]}
    assert sides["valid"]
    assert not sides["train"] & sides["valid"]


def test_validation_rows_of_test_recordings_go_too(caplog):
    rows = {
        "train": rows_of("a", 3, source="freesound:{}"),
        "valid": rows_of("a", 3, 10, source="freesound:{}"),
        "test": rows_of("c", 2, 11, source="freesound:{}"),
    }
    leave_out_test_clips(rows)
    assert list(rows["valid"]) == ["a/10"]
    assert len(rows["train"]) == 3
    assert "2 of 3 validation rows" in caplog.text


def test_shares_are_the_number_of_clips_to_a_power():
    rows = rows_of("a", 100) | rows_of("b", 25)
    rows["a/again"] = rows["a/1"]
    corpora = {name: {"manifest_folder": name} for name in "abc"}
    found = settle_shares(corpora, rows, 0.5)
    assert found["a"] == {
        "manifest_folder": "a",
        "share": 10.0,
        "clips": 100,
        "pairs": 101,
    }
    assert found["b"]["share"] == 5.0
    assert "c" not in found
    assert settle_shares(corpora, rows, 0)["a"]["share"] == 1
    given = {name: {"share": 0.3} for name in "ab"}
    assert settle_shares(given, rows, 0.5)["a"]["share"] == 0.3
    with pytest.raises(ValueError, match=r"The corpora \['b'\] have no share"):
        settle_shares({"a": {"share": 1.0}, "b": {}}, rows, 0.5)


def write(folder, split, rows):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}.json").write_text(json.dumps(rows))


def test_only_the_training_split_must_be_there(tmp_path, caplog):
    write(tmp_path, "train", rows_of("a", 1))
    rows = read_splits("a", str(tmp_path))
    assert {split: len(some) for split, some in rows.items()} == {
        **{"train": 1, "valid": 0, "test": 0}
    }
    assert "The corpus a has no valid split" in caplog.text
    (tmp_path / "prepared.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(FileNotFoundError, match=r"no test\.json or test\.csv"):
        read_splits("a", str(tmp_path))
    (tmp_path / "train.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no train\.json or train\.csv"):
        read_splits("a", str(tmp_path))


def test_a_run_leaves_out_its_own_tests_and_those_that_it_names(tmp_path, caplog):
    write(tmp_path / "a", "train", rows_of("x", 6, source="freesound:{}"))
    write(tmp_path / "a", "valid", rows_of("x", 1, 100))
    write(tmp_path / "a", "test", rows_of("y", 1, source="freesound:{}"))
    write(tmp_path / "esc50", "train", rows_of("z", 1, 1, source="freesound:{}"))
    write(tmp_path / "m" / "known", "test", rows_of("z", 1, 2, source="freesound:{}"))
    write(tmp_path / "m" / "known", "train", rows_of("z", 9, source="freesound:{}"))
    hparams = {
        "save_folder": str(tmp_path / "save"),
        "corpora": {"a": {"manifest_folder": str(tmp_path / "a")}},
        "known_corpora": {"known": {"folders": ["known"], "prepare": note}},
        "held_out_corpora": {},
        "held_out": [str(tmp_path / "esc50")],
        "data_root": None,
        "data_folder": str(tmp_path / "m"),
        "keep_overlaps": False,
        "valid_share": 0.01,
        "share_exponent": 0.5,
    }
    with caplog.at_level(logging.INFO):
        rows = prepare(given := {**hparams})
    sources = [row["source"] for row in rows["train"].values()]
    assert sources == ["freesound:3", "freesound:4", "freesound:5"]
    for name in ("a", "esc50", "known"):
        assert re.search(rf"^a +{name} +1$", caplog.text, re.MULTILINE)
    assert re.search(r"^known +not found$", caplog.text, re.MULTILINE)
    assert re.search(r"^a +3 +3 +100\.00 %$", caplog.text, re.MULTILINE)
    assert given["corpora"]["a"]["share"] == 3**0.5

    check_same_run(tmp_path / "run", "rows", describe(rows))
    (tmp_path / "run" / "CKPT+1").mkdir()
    kept = prepare({**hparams, "keep_overlaps": True})
    assert len(kept["train"]) == 6
    with pytest.raises(ValueError, match=r"train rows: '3 .* then, '6 .* now"):
        check_same_run(tmp_path / "run", "rows", describe(kept))


def of_task(task, *ids):
    return {row_id: {"task": task} for row_id in ids}


def test_only_rows_of_the_tasks_to_keep_stay():
    captions, questions = of_task("captioning", "c"), of_task("question", "q")
    rows = {"train": captions | questions, "test": captions, "valid": {}}
    assert keep_tasks(rows, None) is rows
    for tasks in (["captioning"], "captioning"):
        kept = keep_tasks(rows, tasks)
        assert kept == {"train": captions, "test": captions, "valid": {}}
    # One that is known may have no rows, if another has.
    assert keep_tasks(rows, "captioning,metadata", ["metadata"]) == kept
    with pytest.raises(ValueError, match=r"unknown tasks \['caption'\]"):
        keep_tasks(rows, "captioning,caption")
    with pytest.raises(ValueError, match="tasks of no row of the test data"):
        keep_tasks(rows, ["question"])


def test_every_source_null_says_what_to_give(tmp_path):
    with pytest.raises(ValueError, match=r"nothing to train on.*\['a'\]"):
        prepare({"corpora": {"a": {"source": None}}, "save_folder": tmp_path})


def write_test_clips(data_folder, manifest_folder):
    """Prepare a corpus of one test clip."""
    write(Path(manifest_folder), "test", rows_of("t", 1))


def fail(data_folder, manifest_folder):
    """Stand in for a corpus that is damaged."""
    raise FileNotFoundError("no list")


def test_corpora_that_are_there_and_not_chosen_are_prepared_and_held_out(
    tmp_path, caplog
):
    for name in ("chosen", "other", "damaged"):
        (tmp_path / "data" / name).mkdir(parents=True)
    known = {
        "chosen": {"folders": ["chosen"], "prepare": fail},  # prepared elsewhere
        "other": {"folders": ["other"], "prepare": write_test_clips},
        "damaged": {"folders": ["damaged"], "prepare": fail},
        "absent": {"folders": ["absent"], "prepare": fail},
    }
    hparams = {
        "save_folder": str(tmp_path / "save"),
        "known_corpora": known,
        "held_out_corpora": {},
        "data_root": str(tmp_path / "data"),
        "data_folder": str(tmp_path / "m"),
    }
    found = prepare_held_out(hparams, ["chosen"])
    assert found == [str(tmp_path / "m" / "other" / "test.json")]
    assert "damaged has no test set to hold out: no list" in caplog.text


def fail_in_two_lines(data_folder, manifest_folder):
    """Stand in for a corpus whose table lacks a column."""
    raise ValueError("no column x;\nit has a, b")


def write_all(data_folder, manifest_folder):
    """Prepare a corpus of some clips to train and to validate on."""
    write(Path(manifest_folder), "train", rows_of("t", 3))
    write(Path(manifest_folder), "valid", rows_of("v", 1))


@pytest.fixture
def partly_damaged(tmp_path):
    """Settings of a mixture: one good, two damaged, one absent, one not chosen."""
    for name in ("good", "damaged", "other", "unwanted", "held"):
        (tmp_path / "data" / name).mkdir(parents=True)
    prepares = {"good": write_all, "damaged": fail, "other": fail_in_two_lines}
    prepares |= {"absent": fail, "unwanted": write_all}
    return {
        "save_folder": str(tmp_path / "save"),
        "corpora": "good,damaged,other",
        "known_corpora": {
            name: {"folders": [name], "prepare": function}
            for name, function in prepares.items()
        },
        "held_out_corpora": {},
        "held_out": [],
        "data_root": str(tmp_path / "data"),
        "data_folder": str(tmp_path / "m"),
        "keep_overlaps": False,
        "valid_share": 0.01,
        "share_exponent": 0.5,
    }


TABLE_OF_DAMAGED = (
    "corpus    clips  pairs  share",
    "good      3      3      100.00 %",
    "damaged   failed: no list",
    "other     failed: no column x;",
    "absent    not found",
    "unwanted  not chosen",
)


def test_all_corpora_that_fail_are_told_together_before_training(
    partly_damaged, caplog
):
    caplog.set_level(logging.INFO)
    with pytest.raises(ValueError, match=r"that could not be prepared \(2\)") as error:
        prepare(partly_damaged)
    assert "\n  damaged: no list\n  other: no column x;\nit has a, b" in str(
        error.value
    )
    assert "--skip_failed_corpora True" in str(error.value)
    assert "\n".join(TABLE_OF_DAMAGED) in caplog.text


def test_corpora_that_fail_are_left_out_where_the_yaml_says_so(partly_damaged, caplog):
    caplog.set_level(logging.INFO)
    settings = {**partly_damaged, "skip_failed_corpora": True}
    rows = prepare(settings)
    assert {row["corpus"] for row in rows["train"].values()} == {"good"}
    assert list(settings["corpora"]) == ["good"]
    assert "\n".join(TABLE_OF_DAMAGED) in caplog.text
    assert "damaged, other: left out, as they could not be prepared" in caplog.text
    for corpora in ("damaged", "damaged,other"):  # nothing is left
        with pytest.raises(
            ValueError, match=r"could not be prepared \(\d\):\n  damaged"
        ):
            prepare({**settings, "corpora": corpora})


def test_test_sets_to_hold_out_that_fail_stop_the_training_too(partly_damaged, caplog):
    settings = {**partly_damaged, "corpora": "good"}
    settings["held_out_corpora"] = {"held": {"folders": ["held"], "prepare": fail}}
    with pytest.raises(
        ValueError, match=r"could not be prepared \(1\):\n  held: no list"
    ):
        prepare({**settings})
    assert prepare({**settings, "skip_failed_corpora": True})["train"]
    assert "held: left out, as they could not be prepared" in caplog.text


def test_a_corpus_whose_rows_are_of_other_tasks_is_not_called_absent(partly_damaged):
    remarks = remarks_on(partly_damaged, ["good"], {})
    table = mixture_table({}, partly_damaged["known_corpora"], remarks)
    assert "good      no training rows" in table


def test_a_test_manifest_in_csv_is_held_out(hparams, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "test.csv").write_text("ID,wav,duration,task\n1,a.wav,1,x\n")
    hparams["known_corpora"]["clips"]["manifest_folder"] = str(tmp_path / "mine")
    hparams |= {"held_out_corpora": {}, "save_folder": str(tmp_path / "save")}
    paths = prepare_held_out(hparams, ["clotho", "macs"])
    assert paths == [str(tmp_path / "mine" / "test.csv")]


def test_splits_of_an_earlier_preparation_are_not_trained_on(tmp_path):
    row = {"1": {"wav": "{data_root}/a.wav", "duration": 1.0, "task": "x"}}
    both = {"train": row, "valid": row}
    write_manifests(tmp_path / "m", both, tmp_path, {"option": 1}, {})
    write_manifests(tmp_path / "m", {"train": row}, tmp_path, {"option": 2}, {})
    assert not read_splits("mine", tmp_path / "m")["valid"]
