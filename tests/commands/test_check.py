"""pengi check: what it prints, and its exit status."""

import json

import numpy as np
import pytest
import soundfile

from pengi_plugin.__main__ import main


@pytest.fixture
def folder(tmp_path):
    """A corpus of two clips without a fault."""
    for seed, name in enumerate("ab"):
        noise = np.random.default_rng(seed).uniform(-0.1, 0.1, 16000)
        soundfile.write(tmp_path / f"{name}.wav", noise, 16000)
    write(tmp_path, a={"caption": "rain"}, b={"caption": "wind in a tree"})
    return tmp_path


def write(folder, **rows):
    clip = {"duration": 1.0, "task": "captioning"}
    rows = {key: {"wav": f"{key}.wav", **clip, **row} for key, row in rows.items()}
    (folder / "train.json").write_text(json.dumps(rows))


def run(capsys, *words):
    status = main(["check", *map(str, words)])
    out, err = capsys.readouterr()
    return status, out, err


def test_nothing_wrong_is_said_with_status_0(folder, capsys):
    assert run(capsys, folder)[:2] == (
        0,
        "1 manifests, 2 rows, 2 files were read. Nothing is wrong.\n",
    )


def test_sources_that_no_test_set_can_have_are_warned_of(folder, capsys):
    odd = {"caption": "x", "source": "https://freesound.org/7 freesound:7.wav"}
    write(folder, a={"caption": "rain", "source": "freesound:7"}, b=odd)
    status, out, _ = run(capsys, folder)
    assert status == 0
    (line,) = [line for line in out.splitlines() if line.startswith("warning: ")]
    assert "2 sources have no known form, the first is 'https://freesound" in line


def test_what_is_wrong_is_printed_a_line_each_and_then_a_table(folder, capsys):
    soundfile.write(folder / "b.wav", np.zeros(16000), 16000)
    write(folder, a={"caption": "rain"}, b={"caption": "x"}, c={"caption": "x"})
    status, out, err = run(capsys, folder)
    assert status == 1
    lines = out.splitlines()
    assert lines[:2] == [
        f"silent: {folder}/b.wav: no sample is above 0.00012",
        f"missing: {folder}/c.wav: missing",
    ]
    table = [line.split() for line in lines[2:5]]
    assert table == [
        ["kind", "count", "share", "first"],
        ["missing", "1", "33.33%", "of", "files", f"{folder}/c.wav"],
        ["silent", "1", "33.33%", "of", "files", f"{folder}/b.wav"],
    ]
    assert lines[5:] == ["1 manifests, 3 rows, 3 files were read. 2 faults."]
    assert "reading audio" in err


def test_json_holds_the_same(folder, capsys):
    (folder / "b.wav").unlink()
    status, out, _ = run(capsys, folder, "--json")
    found = json.loads(out)
    assert status == 1
    assert found["counts"] == {"manifests": 1, "rows": 2, "files": 2}
    (fault,) = found["faults"]
    assert (fault["kind"], fault["name"]) == ("missing", f"{folder}/b.wav")
    (line,) = found["summary"]
    assert (line["count"], line["share"], line["names"]) == (
        *(1, 0.5),
        [f"{folder}/b.wav"],
    )


def test_training_rows_of_test_recordings_are_counted_and_are_no_fault(
    folder, capsys, tmp_path_factory
):
    write(folder, a={"caption": "x", "source": "freesound:7"}, b={"caption": "x"})
    assert "test set" not in run(capsys, folder)[1]
    others = tmp_path_factory.mktemp("sets") / "clotho"
    others.mkdir()
    clip = {"wav": "z.wav", "duration": 1.0, "task": "captioning", "caption": "x"}
    rows = {"1": {**clip, "source": "freesound:7"}, "2": clip}
    (others / "test.json").write_text(json.dumps(rows))
    status, out, _ = run(capsys, folder, "--held_out", others)
    assert status == 0
    head, line, _ = out.splitlines()
    assert head.startswith("training corpus ")
    assert head.endswith(" rows that training leaves out")
    assert line.split() == [folder.name, "clotho", "1"]
    found = json.loads(run(capsys, folder, "--json", "--held_out", others)[1])
    assert found["overlaps"] == [
        {"training_corpus": folder.name, "test_set": "clotho", "rows": 1}
    ]
    others.rename(folder / "clotho")
    (folder / "clotho" / "z.wav").write_bytes((folder / "a.wav").read_bytes()[:-2])
    found = json.loads(run(capsys, folder, "--json")[1])
    assert [line["test_set"] for line in found["overlaps"]] == ["clotho"]


def test_the_limits_are_options(folder, capsys):
    status, out, _ = run(
        *(capsys, folder, "--max-seconds", 0.5, "--max-answer-words", 3)
    )
    assert status == 1
    assert "too long: " in out
    assert "long answer: " in out
    assert "4 words, more than 3" in out
    assert run(capsys, folder, "--min-seconds", 2)[1].count("too short: ") == 2


@pytest.mark.parametrize("kind", ["model.yaml", "training.yaml", "folder"])
def test_a_model_tells_how_long_texts_may_be(folder, capsys, root, tiny_folder, kind):
    tiny = root / "hparams" / "model" / "tiny.yaml"
    source = {"model.yaml": tiny, "folder": tiny_folder}.get(kind)
    if source is None:
        source = folder / "my_training.yaml"
        source.write_text(
            f"model: !include:{tiny}\n"
            "tasks: {bird: {prompt: which bird?, answer: '{name}'}}\n"
            "lr: !PLACEHOLDER\n"
        )
    write(folder, a={"caption": "rain"}, b={"caption": "a dog barks " * 500})
    status, out, _ = run(capsys, folder, "--model", source)
    assert status == 1
    (line,) = [line for line in out.splitlines() if line.startswith("long answer: ")]
    assert "/b: " in line
    assert "tokens with the end mark, the model reads" in line
    write(folder, a={"caption": "rain"}, b={"task": "bird", "name": "wren"})
    assert run(capsys, folder, "--model", source)[0] == (kind != "training.yaml")


def test_a_folder_without_manifests_has_status_2(tmp_path, capsys):
    status, _, err = run(capsys, tmp_path)
    assert status == 2
    assert err.startswith(f"pengi check: {tmp_path} holds no train.json")


@pytest.mark.parametrize(
    ("column", "cell", "warned"),
    [
        ("labels", "Bark,Dog", "divided at ','; to say at what, name the column"),
        ("labels", "Bark;Dog", "divided at ','; to say at what, name the column"),
        ("labels", "Bark|Dog", "divided at ','; to say at what, name the column"),
        ("labels", "Bark", ""),
        ("labels[,]", "Bark,Dog", ""),
        ("labels[;]", "Bark, large;Dog", ""),
    ],
)
def test_a_table_that_declares_no_separator_is_warned_of(
    folder, capsys, column, cell, warned
):
    (folder / "train.json").unlink()
    (folder / "train.csv").write_text(
        f'ID,wav,duration,task,"{column}"\n1,a.wav,1.0,sound_events,"{cell}"\n'
    )
    status, out, _ = run(capsys, folder)
    assert status == 0
    assert out.endswith("Nothing is wrong.\n")
    assert ("warning: " in out) == bool(warned)
    assert warned in out
    assert (f"for instance '{cell}'" in out) == bool(warned)
    found = json.loads(run(capsys, folder, "--json")[1])
    assert len(found["warnings"]) == bool(warned)


def test_a_text_of_labels_in_json_is_warned_of_and_a_list_is_not(folder, capsys):
    events = {"task": "sound_events"}
    write(folder, a={**events, "labels": "Bark,Dog"}, b={**events, "labels": ["A, b"]})
    out = run(capsys, folder)[1]
    assert "1 texts of labels" in out
    assert "'Bark,Dog', and no separator is declared" in out
    write(folder, a={**events, "labels": ["Bark", "Dog"]})
    assert "warning" not in run(capsys, folder)[1]


@pytest.mark.parametrize("separator", [None, ","])
def test_clips_beside_a_table_are_warned_of_until_the_separator_is_said(
    folder, tmp_path, capsys, separator
):
    (folder / "clips.csv").write_text('file_name,class\na.wav,"Bark,Dog"\n')
    words = ["--text_column", "class", "--task", "sound_events"]
    words += ["--separator", separator] if separator else []
    manifests = tmp_path / "manifests"
    assert main(["prepare", "clips", str(folder), str(manifests), *words]) == 0
    capsys.readouterr()
    out = run(capsys, manifests)[1]
    assert ("prepare again with --separator" in out) == (separator is None)
