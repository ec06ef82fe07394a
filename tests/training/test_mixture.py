"""Which corpora a YAML trains on, with which shares, and which it holds out."""

from pathlib import Path

import pytest

from pengi_plugin.data.manifest import write_manifests
from pengi_plugin.training.mixture import (
    chosen_corpora,
    find_corpora,
    mixture_table,
    prepare_held_out,
    read_splits,
    remarks_on,
    settle_shares,
)
from tests.training.small_corpora import fail, rows_of, write

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


def write_test_clips(data_folder, manifest_folder):
    """Prepare a corpus of one test clip."""
    write(Path(manifest_folder), "test", rows_of("t", 1))


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


def test_a_corpus_whose_rows_are_of_other_tasks_is_not_called_absent(hparams):
    remarks = remarks_on(hparams, ["clotho"], {})
    table = mixture_table({}, hparams["known_corpora"], remarks)
    assert "clotho  no training rows" in table


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
