"""Training rows that hold recordings of test sets are found, and no others."""

import json
import re

import pytest

from pengi_plugin.corpora.audiocaps import read_clips
from pengi_plugin.corpora.clothoaqa import clotho_source
from pengi_plugin.corpora.dcase2017_task4 import read_labels
from pengi_plugin.corpora.wavcaps import read_item
from pengi_plugin.data.check import find_manifests
from pengi_plugin.data.overlap import (
    HeldOut,
    count_overlaps,
    find_overlaps,
    overlap_table,
    read_held_out,
)


def row(source, wav="train.wav", seconds=10.0, corpus="a"):
    return {"wav": wav, "source": source, "duration": seconds, "corpus": corpus}


def held_out(*sources, seconds=10.0):
    found = HeldOut()
    found.add([row(source, "test.wav", seconds) for source in sources], "test set")
    return found


@pytest.mark.parametrize(
    ("train", "test", "overlaps"),
    [
        ("youtube:a:30", "youtube:a:30", True),
        ("youtube:a:30", "youtube:a:39.5", True),
        ("youtube:a:39.5", "youtube:a:30", True),
        ("youtube:a:30", "youtube:a:40", False),
        ("youtube:a:40", "youtube:a:30", False),
        ("youtube:a", "youtube:a:30", True),
        ("youtube:a:500", "youtube:a", True),
        ("youtube:a:30", "youtube:A:30", False),
        ("youtube:7", "freesound:7", False),
        ("freesound:7", "freesound:70", False),
        ("freesound:7 clotho:rain", "freesound:8 clotho:rain", True),
        ("freesound:7 clotho:rain", "clotho:rain", True),
        ("freesound:7 clotho:rain", "freesound:7", True),
        ("freesound:7 clotho:rain", "freesound:8 clotho:wind", False),
        ("", "", False),
        (None, "youtube:a", False),
    ],
)
def test_sources_overlap_by_archive_id_and_where_both_state_them_seconds(
    train, test, overlaps
):
    found = held_out(test).names_of(row(train))
    assert found == ({"test set"} if overlaps else set())


def test_a_clip_covers_the_seconds_that_its_file_lasts():
    found = held_out("youtube:a:30", seconds=4.0)
    assert found.names_of(row("youtube:a:33.9", seconds=1.0))
    assert not found.names_of(row("youtube:a:34", seconds=1.0))
    assert found.names_of(row("youtube:a:20", seconds=10.1))


def test_one_audio_file_under_two_paths_overlaps_without_a_source(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.wav").touch()
    (tmp_path / "y").symlink_to(tmp_path / "x")
    (tmp_path / "b.wav").symlink_to(tmp_path / "x" / "a.wav")
    found = HeldOut()
    found.add([row("", str(tmp_path / "x" / "a.wav"))], "test set")
    for name in ("x/a.wav", "y/a.wav", "b.wav"):
        assert found.names_of(row("", str(tmp_path / name))) == {"test set"}
    assert found.names_of(row("", str(tmp_path / "c.wav"))) == set()


def test_rows_are_counted_for_each_test_set_that_they_are_in():
    rows = {
        "a/1": row("freesound:1", "1.wav"),
        "a/2": row("freesound:2", "2.wav"),
        "b/2": row("freesound:2", "3.wav", corpus="b"),
        "b/3": row("freesound:3", "4.wav", corpus="b"),
    }
    sets = HeldOut()
    for name, ids in (("one", (1, 1)), ("two", (1, 2))):
        clips = [row(f"freesound:{n}", f"{name}{n}.wav") for n in ids]
        sets.add(clips, name)
    overlaps = find_overlaps(rows, sets)
    assert overlaps == {0: {"one", "two"}, 1: {"two"}, 2: {"two"}}
    counts = count_overlaps(rows, overlaps)
    assert counts == {("a", "one"): 1, ("a", "two"): 2, ("b", "two"): 1}
    assert overlap_table(counts, "rows left out")[1:] == [
        "a                one       1",
        "a                two       2",
        "b                two       1",
    ]


def ids(rows, positions):
    """Return the IDs of rows at some positions."""
    return {list(rows)[position] for position in positions}


def write(folder, split, **rows):
    folder.mkdir(parents=True, exist_ok=True)
    rows = {
        key: {"wav": f"{key}.wav", "duration": 1, "task": "x", "source": source}
        for key, source in rows.items()
    }
    (folder / f"{split}.json").write_text(json.dumps(rows))


def test_a_folder_holds_out_all_its_splits_but_none_of_a_corpus_trained_on(tmp_path):
    write(tmp_path / "esc50", "train", a="freesound:1")
    write(tmp_path / "esc50", "test", b="freesound:2")
    write(tmp_path / "own", "train", c="freesound:3")
    write(tmp_path / "own", "test", d="freesound:4")
    found = read_held_out([tmp_path], [tmp_path / "own"])
    assert [(name, [*rows]) for name, rows in found] == [
        ("esc50", ["esc50/a"]),
        ("esc50", ["esc50/b"]),
    ]
    (only,) = read_held_out([tmp_path / "own" / "test.json", tmp_path / "own"], [])[:1]
    assert [*only[1]] == ["own/d"]
    assert read_held_out([tmp_path / "own"], [tmp_path / "own"]) == []
    (tmp_path / "empty").mkdir()
    for wrong in ("empty", "absent", "absent.json"):
        message = f"held_out names {re.escape(str(tmp_path / wrong))}, which is no"
        with pytest.raises(FileNotFoundError, match=message):
            read_held_out([tmp_path / wrong])


def rows_of(clips, corpus, seconds=10.0):
    """Return a row for each clip, as ``write_corpus`` would write it."""
    return {
        f"{corpus}/{clip.name}": row(clip.source, f"{corpus}/{clip.name}.wav", seconds)
        | {"corpus": corpus}
        for clip in clips
    }


def test_real_clips_of_audiocaps_are_found_in_dcase_2017_and_wavcaps(shared):
    train = rows_of(
        read_clips(shared / "data" / "audiocaps" / "train.csv", "train", {}),
        "audiocaps",
    )
    samples = shared / "corpora" / "samples"
    lists = samples / "dcase2017_task4" / "groundtruth_release"
    names = read_labels(lists / "groundtruth_weak_label_evaluation_set.csv")
    test = HeldOut()
    expected = set()
    starts = {}
    for row_id in train:
        _, _, clip = row_id.partition("/")
        starts.setdefault(clip[:11], []).append((float(clip[12:]), row_id))
    for name in names:  # <video>_<start>_<end>
        start, end = map(float, name[12:].split("_"))
        clip = row(f"youtube:{name[:11]}:{start:g}", f"{name}.wav", end - start)
        test.add([clip], "dcase2017_task4")
        expected |= {
            row_id
            for begin, row_id in starts.get(name[:11], ())
            if max(begin, start) < min(begin + 10, end)
        }
    videos = {name[:11] for name in names} & starts.keys()
    assert (len(videos), len(expected)) == (7, 6)  # one at other seconds
    assert ids(train, find_overlaps(train, test)) == expected

    path = samples / "wavcaps" / "json_files" / "AudioSet_SL" / "as_final.json"
    items = json.loads(path.read_text())["data"]
    clips = [
        read_item(item, "AudioSet_SL", {}, "caption", "metadata") for item in items
    ]
    held = HeldOut()
    held.add(train.values(), "audiocaps")
    wavcaps = rows_of(clips, "wavcaps")
    assert ids(wavcaps, find_overlaps(wavcaps, held)) == {
        "wavcaps/AudioSet_SL_Yb0RFKhbpFJA"
    }


def test_clips_of_clotho_and_clothoaqa_are_compared_by_name():
    evaluation = held_out(clotho_source("Geese1 - (Apollonia&#39;s sPA) 18.44"))
    same = clotho_source("Geese1 - (Apollonia&#39;s sPA) 18_44", "freesound:3")
    assert evaluation.names_of(row(same)) == {"test set"}
    assert not evaluation.names_of(row(clotho_source("Geese2", "freesound:3")))


@pytest.mark.parametrize(
    ("source", "other"),
    [
        ("freesound:7", "Freesound:007"),
        ("youtube:-a_bcdefghi:30", "YouTube:Y-a_bcdefghi:30"),
    ],
)
def test_a_source_in_another_spelling_is_the_same(source, other):
    clip = {"wav": "a.wav", "duration": 10, "source": source}
    held_out = HeldOut()
    held_out.add([clip], "test set")
    assert held_out.names_of({**clip, "wav": "b.wav", "source": other})
    assert not held_out.names_of({**clip, "wav": "b.wav", "source": f"{source}0x"})


def test_test_sets_below_a_link_are_held_out(tmp_path):
    row = {"wav": "a.wav", "duration": 1, "task": "x"}
    (tmp_path / "real" / "esc50").mkdir(parents=True)
    (tmp_path / "real" / "esc50" / "test.json").write_text(json.dumps({"1": row}))
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "sets")
    assert [name for name, _ in read_held_out([tmp_path / "sets"])] == ["esc50"]
    (manifest,), _ = find_manifests(tmp_path / "sets")
    assert manifest.parent.name == "esc50"
