import csv
import io
import json

import pytest

from pengi_plugin.protocols.control import (
    commonest_answers,
    control_table,
    format_table,
    group_of,
    part_of,
    shuffle_clips,
)


def share_equal(answers, references):
    return sum(a in rs for a, rs in zip(answers, references)) / len(answers)


METRICS = {"": ("equal", share_equal), "captioning": ("none", lambda a, r: 0.25)}


def row(group, task, answer, shuffled, reference):
    return {
        "group": group,
        "task": task,
        "answer": answer,
        "shuffled": shuffled,
        "references": [reference],
    }


def test_each_row_gets_another_clip_of_its_group_and_keeps_its_words():
    rows = {
        f"{task}{n}": {"task": task, "wav": f"{task}{n}.wav", "duration": n, "n": n}
        for task in ("captioning", "metadata")
        for n in range(5)
    }
    shuffled = shuffle_clips(rows, seed=3)
    assert list(shuffled) == list(rows)
    for key, changed in shuffled.items():
        assert changed["wav"] != rows[key]["wav"]
        assert changed["wav"].startswith(changed["task"])
        assert changed["n"] == rows[key]["n"]
        assert changed["duration"] == int(changed["wav"][-5])
    assert {r["wav"] for r in shuffled.values()} == {r["wav"] for r in rows.values()}


def test_the_table_has_the_score_and_both_controls():
    rows = [
        row("q", "qa", "yes", "no", "yes"),
        row("q", "qa", "no", "no", "no"),
        row("q", "qa", "yes", "yes", "no"),
        row("c", "captioning", "rain", "wind", "rain"),
    ]
    table = control_table(rows, {"q": "no", "c": "a dog"}, METRICS, {})
    assert [line["group"] for line in table] == ["c", "q"]
    assert table[0]["metric"] == "none"
    assert table[0]["score"] == 0.25
    assert table[1] == {
        "group": "q",
        "metric": "equal",
        "n": 3,
        "score": pytest.approx(2 / 3),
        "commonest": pytest.approx(2 / 3),
        "shuffled": pytest.approx(1 / 3),
    }


def test_named_parts_of_an_answer_get_lines_of_their_own():
    rows = [
        row("n", "note", "violin, pitch 3", "cello, pitch 3", "violin, pitch 4"),
        row("n", "note", "cello, pitch 5", "cello", "cello, pitch 5"),
    ]
    parts = {"note": ["instrument", "pitch"]}
    table = control_table(rows, {"n": "cello, pitch 5"}, METRICS, parts)
    found = {line["group"]: line["score"] for line in table}
    assert found == {"n": 0.5, "n, instrument": 1.0, "n, pitch": 0.5}
    assert part_of("cello", 1) == ""


def test_the_commonest_answer_is_that_of_the_group():
    groups = ["a", "a", "a", "b"]
    assert commonest_answers(groups, ["x", "y", "y", "x"]) == {"a": "y", "b": "x"}


def test_kinds_of_questions_and_scenes_are_groups_of_their_own():
    scene = {"task": "sound_events", "clip_kind": "together", "corpus": "midi"}
    assert group_of(scene) == "midi: sound_events, together"
    assert group_of({"task": "captioning", "clip_kind": "note"}) == "captioning"


def test_a_table_reads_back_from_csv_and_json():
    table = control_table([row("q", "qa", "a", "b", "a")], {"q": "a"}, METRICS, {})
    assert json.loads(format_table(table, "json")) == table
    (line,) = csv.DictReader(io.StringIO(format_table(table, "csv")))
    assert line["group"] == "q"
    assert float(line["score"]) == 1.0
    assert "| q | equal | 1 | 100.0 | 100.0 | 0.0 |" in format_table(table, "md")
