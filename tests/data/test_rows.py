"""Rows of a manifest are the same from JSON, CSV and the Arrow file made of them."""

import errno
import json
import os
import pickle
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest

from pengi_plugin.data import table
from pengi_plugin.data.manifest import arrow, as_rows, concatenate, read_manifest
from pengi_plugin.data.table import read_table
from tests.data.test_table import TEXTS, write

#: Values that a row may have, of kinds that one column could not hold.
VALUES = [60, "60", 1.5, True, None, [], ["a", "b"], {"k": [1]}, "", "犬", "a\nb"]


def a_row(number=0, **fields):
    row = {"wav": f"{{data_root}}/{number}.wav", "duration": 1.0, "task": "captioning"}
    return row | {"caption": f"sound {number}"} | fields


def expected(rows, corpus, folder):
    """Return what reading rows must give, computed by hand."""
    return {
        f"{corpus}/{key}": {
            **row,
            "id": f"{corpus}/{key}",
            "corpus": corpus,
            "wav": row["wav"].replace("{data_root}", str(folder)),
        }
        for key, row in rows.items()
    }


@pytest.fixture
def unread(monkeypatch):
    """Return a function after which reading JSON or CSV is an error."""

    def forbid():
        def fail(path):
            raise AssertionError(f"{path} was read again")

        monkeypatch.setattr(arrow, "read_table", fail)

    return forbid


def test_rows_of_any_values_come_back_from_the_arrow_file_as_from_json(
    tmp_path, unread
):
    rows = {str(n): a_row(n, value=value) for n, value in enumerate(VALUES)}
    rows["odd \udcff"] = a_row(wav="{data_root}/\udcff.wav", source="freesound:1")
    rows["without"] = a_row(duration=2)
    path = write(tmp_path / "train.json", rows)
    for _ in range(2):
        found = read_manifest(path, "m")
        assert dict(found.items()) == expected(rows, "m", tmp_path)
        assert list(found) == [f"m/{key}" for key in rows]
        assert [found[key] for key in found] == list(found.values())
        unread()  # the second time


def test_json_and_csv_give_the_same_rows_before_and_after_they_are_converted(
    tmp_path, unread
):
    rows = {str(n): a_row(n, caption=text) for n, text in enumerate(TEXTS)}
    for name in ("a.json", "b.csv"):
        write(tmp_path / name, rows, encoding="utf-8")
    first = [
        dict(read_manifest(tmp_path / n, "m").items()) for n in ("a.json", "b.csv")
    ]
    unread()
    again = [
        dict(read_manifest(tmp_path / n, "m").items()) for n in ("a.json", "b.csv")
    ]
    assert first == again == [expected(rows, "m", tmp_path)] * 2


def test_a_manifest_that_changed_is_converted_anew_whatever_its_size_and_time(tmp_path):
    path = write(tmp_path / "train.json", {"1": a_row(caption="rain")})
    then = path.stat()
    for caption in ("wind", "hail", "snow"):
        assert read_manifest(path, "m")["m/1"]["caption"] != caption
        write(path, {"1": a_row(caption=caption)})
        os.utime(path, ns=(then.st_atime_ns, then.st_mtime_ns))
        assert path.stat().st_size == then.st_size
        assert read_manifest(path, "m")["m/1"]["caption"] == caption


def test_a_manifest_is_compared_by_its_bytes_only_where_its_state_does_not_tell(
    tmp_path, unread, monkeypatch
):
    path = write(tmp_path / "train.json", {"1": a_row()})
    monkeypatch.setattr(arrow, "JUST_WRITTEN", -1.0)  # it was not written just now
    read_manifest(path, "m")
    unread()
    copy = shutil.copytree(tmp_path, tmp_path.parent / "copy") / "train.json"
    assert len(read_manifest(copy, "m")) == 1
    monkeypatch.setattr(arrow, "digest_of", unread)
    assert len(read_manifest(path, "m")) == 1


@pytest.mark.parametrize("damage", ["version", "cut off", "foreign"])
def test_an_arrow_file_that_cannot_be_taken_is_made_again(
    tmp_path, damage, monkeypatch
):
    path = write(tmp_path / "train.json", {"1": a_row()})
    read_manifest(path, "m")
    made = tmp_path / "train.json.arrow"
    content = made.read_bytes()
    if damage == "version":
        monkeypatch.setattr(arrow, "VERSION", arrow.VERSION + 1)
    else:
        made.write_bytes(content[:-50] if damage == "cut off" else b"not Arrow")
    assert list(read_manifest(path, "m")) == ["m/1"]
    assert made.stat().st_size >= len(content) - 8
    assert made.read_bytes() != content[:-50]


def test_an_interrupted_conversion_leaves_what_was_there(tmp_path, monkeypatch):
    path = write(tmp_path / "train.json", {"1": a_row()})
    read_manifest(path, "m")
    before = (tmp_path / "train.json.arrow").read_bytes()
    write(path, {str(n): a_row(n) for n in range(5)})

    def cut_off(path):
        yield from list(read_table(path))[:3]
        raise KeyboardInterrupt

    monkeypatch.setattr(arrow, "read_table", cut_off)
    monkeypatch.setattr(arrow, "N_BATCH", 2)
    with pytest.raises(KeyboardInterrupt):
        read_manifest(path, "m")
    assert (tmp_path / "train.json.arrow").read_bytes() == before
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["train.json", "train.json.arrow"]
    monkeypatch.undo()
    assert len(read_manifest(path, "m")) == 5


def test_what_killed_conversions_left_is_removed_when_it_is_old(tmp_path):
    path = write(tmp_path / "train.json", {"1": a_row()})
    left = [tmp_path / f".train.json.arrow.{pid}.unfinished" for pid in (7, 8)]
    for file in left:
        file.touch()
    os.utime(left[0], (0, 0))
    read_manifest(path, "m")
    assert [file.exists() for file in left] == [False, True]


def test_a_manifest_that_changes_while_it_is_read_is_an_error(tmp_path, monkeypatch):
    path = write(tmp_path / "train.json", {"1": a_row()})

    def changed(path):
        yield from list(read_table(path))
        path.write_text("{}")

    monkeypatch.setattr(arrow, "read_table", changed)
    with pytest.raises(ValueError, match=r"train\.json was changed while it was read"):
        read_manifest(path, "m")
    assert [file.name for file in tmp_path.iterdir()] == ["train.json"]


def test_where_the_folder_cannot_be_written_the_cache_is_used(
    tmp_path, monkeypatch, unread
):
    (tmp_path / "m").mkdir()
    path = write(tmp_path / "m" / "train.json", {"1": a_row()})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    convert = arrow._convert

    def denied(path, target):
        if target.parent == path.parent:
            raise PermissionError("read-only")
        return convert(path, target)

    monkeypatch.setattr(arrow, "_convert", denied)
    assert list(read_manifest(path, "m")) == ["m/1"]
    unread()
    assert list(read_manifest(path, "m")) == ["m/1"]
    assert [file.name for file in path.parent.iterdir()] == ["train.json"]


READ = """
import sys
from pengi_plugin.data.manifest import read_manifest
rows = read_manifest(sys.argv[1], "m")
print(len(rows), rows.digest(), sum(row["duration"] for row in rows.values()))
"""


def test_two_processes_that_convert_at_once_both_have_all_rows(tmp_path, root):
    path = write(tmp_path / "train.json", {str(n): a_row(n) for n in range(5000)})
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", READ, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        for _ in range(2)
    ]
    told = [process.communicate()[0] for process in processes]
    assert told == [f"5000 {read_manifest(path, 'm').digest()} 5000.0\n"] * 2
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["train.json", "train.json.arrow"]


def test_a_large_manifest_is_read_in_small_pieces_as_in_one(tmp_path, monkeypatch):
    rows = {f"é{n}": a_row(n, caption="x" * n, n=[n, {"y": "]}"}]) for n in range(60)}
    path = write(tmp_path / "train.json", rows)
    for chunk in (1, 7, 64):
        monkeypatch.setattr(table, "CHUNK", chunk)
        assert list(read_table(path)) == list(rows.items())
    lines = json.dumps(rows, indent=1).splitlines()
    place = next(n for n, line in enumerate(lines) if n > 200 and "task" in line)
    lines[place] = lines[place].replace(":", ";", 1)
    path.write_text("\n".join(lines))
    column = lines[place].index(";") + 1
    message = rf"is no JSON: .* in line {place + 1}, column {column}\."
    for chunk in (1, 50, 1 << 20):
        monkeypatch.setattr(table, "CHUNK", chunk)
        with pytest.raises(ValueError, match=message):
            list(read_table(path))
    path.write_bytes(b"{" + b" " * 99 + "é".encode() + b"\xff")
    with pytest.raises(ValueError, match="at byte 102"):
        list(read_table(path))


def test_rows_are_chosen_ordered_and_joined_by_numbers(tmp_path):
    path = write(tmp_path / "train.json", {str(n): a_row(n) for n in range(9)})
    rows = read_manifest(path, "a")
    some = rows.select(np.arange(9) % 2 == 0).select([3, 0])
    assert list(some) == ["a/6", "a/0"]
    assert "a/6" in some
    assert "a/1" not in some
    other = as_rows({"x": a_row(7, corpus="c"), "y": a_row(8, task="z", corpus="c")})
    both = concatenate([some, other, rows.select([])])
    assert [row_id for row_id, _ in both.items()] == ["a/6", "a/0", "x", "y"]
    assert both.at(3)["task"] == "z"
    codes, names = both.categories("corpus")
    assert [names[code] for code in codes] == ["a", "a", "c", "c"]
    codes, names = both.categories("task")
    assert [names[code] for code in codes] == ["captioning"] * 3 + ["z"]


def test_rows_of_one_file_and_corpus_are_of_one_clip(tmp_path):
    wavs = ["{data_root}/a.wav", "b.wav", "$data_root/a.wav"]
    rows = {str(n): a_row(wav=wav) for n, wav in enumerate(wavs)}
    first, second = (
        read_manifest(write(tmp_path / f"{name}.json", rows), name) for name in "ab"
    )
    clips = concatenate([first, second]).clips().tolist()
    assert clips[0] == clips[2]
    assert clips[3] == clips[5]
    assert len(set(clips)) == 4


def test_a_digest_of_rows_tells_their_words_not_their_order_or_place(tmp_path):
    rows = {"a": a_row(1), "b": a_row(2, source="freesound:1")}
    digest = as_rows(rows).digest()
    moved = {"b": rows["b"], "a": {**rows["a"], "wav": "/y/a.wav"}}
    assert as_rows(moved).digest() == digest
    changes = ({"caption": "x"}, {"duration": 2.0}, {"task": "y"}, {"source": "bbc:1"})
    others = [as_rows({**rows, "a": {**rows["a"], **change}}) for change in changes]
    others += [as_rows({"a": rows["a"]}), as_rows({**rows, "c": a_row(3)})]
    digests = {digest, *(other.digest() for other in others)}
    assert len(digests) == 1 + len(others)


def test_rows_reach_another_process_by_name_and_not_if_they_were_made_again(tmp_path):
    path = write(tmp_path / "train.json", {str(n): a_row(n) for n in range(3000)})
    rows = read_manifest(path, "m")
    sent = pickle.dumps(rows.select([2, 1]))
    assert len(sent) < 2000
    assert list(pickle.loads(sent)) == ["m/2", "m/1"]
    write(path, {"1": a_row()})
    read_manifest(path, "m")
    with pytest.raises(ValueError, match="was made again while it was in use"):
        pickle.loads(sent)


MEMORY = """
import json, random, sys
from pengi_plugin.data.dataset import ClipDataset
from pengi_plugin.data.manifest import read_manifest
from tests.doubles import Letters


def own():  # MiB of this process alone, without mapped files
    with open("/proc/self/status") as file:
        (line,) = [line for line in file if line.startswith("RssAnon")]
    return int(line.split()[1]) / 1024


def load(path):
    return json.load(open(path)) if sys.argv[2] == "dicts" else read_manifest(path, "m")


def use(path):
    rows = load(path)
    if sys.argv[2] == "dicts":
        return rows
    dataset = ClipDataset(rows, 100, 1.0, Letters(), "z", absent=[])
    for index in random.Random(0).choices(range(len(dataset)), k=2000):
        dataset.data[index]
    assert sum(1 for _ in dataset.pairs) == len(rows)
    return dataset


use(sys.argv[3])  # what the first use needs, whatever the size
before = own()
kept = use(sys.argv[1])
print(own() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
def test_a_large_manifest_needs_little_memory(tmp_path, root):
    n_row, path = 200_000, tmp_path / "train.json"
    words = random.Random(0)
    with path.open("w") as file:
        for n in range(n_row):
            row = a_row(n, caption=f"{words.random()} of {n}", source=f"freesound:{n}")
            file.write(f"{'{,'[n > 0]}\n{json.dumps({f'clip {n}': row})[1:-1]}")
        file.write("}")

    small = write(tmp_path / "small.json", {"1": a_row()})

    def memory(form):
        command = [sys.executable, "-c", MEMORY, str(path), form, str(small)]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        told = subprocess.run(command, env=environment, text=True, capture_output=True)
        assert told.returncode == 0, told.stderr[-2000:]
        return float(told.stdout)

    converted, mapped, dicts = memory("rows"), memory("rows"), memory("dicts")
    assert mapped < 40
    assert converted < 60
    assert dicts > 120  # so that the bounds tell something


@pytest.mark.parametrize("source", [["freesound:1"], 1])
def test_a_source_that_is_no_text_is_an_error_and_not_passed_over(tmp_path, source):
    path = write(tmp_path / "train.json", {"1": a_row(source=source)})
    with pytest.raises(ValueError, match=r"has the source .*; it must be a text"):
        read_manifest(path, "m")


def test_a_duration_beyond_all_numbers_is_a_fault_of_its_row(tmp_path):
    path = write(tmp_path / "train.json", {"1": a_row(duration=10**400)})
    with pytest.raises(ValueError, match=r"Row 'm/1' .* has the duration 1000"):
        read_manifest(path, "m")


def test_on_a_file_system_that_is_read_only_the_cache_is_used(tmp_path, monkeypatch):
    (tmp_path / "m").mkdir()
    path = write(tmp_path / "m" / "train.json", {"1": a_row()})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    new_file = arrow.new_file

    def refused(target):
        if target.parent == path.parent:
            raise OSError(errno.EROFS, "Read-only file system")
        return new_file(target)

    monkeypatch.setattr(arrow, "new_file", refused)
    assert list(read_manifest(path, "m")) == ["m/1"]
    assert list((tmp_path / "cache").rglob("*.arrow"))
