"""The table of results, read back from what is written."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from pengi_plugin.protocols.score import Score, mean_score
from pengi_plugin.protocols.table import (
    markdown,
    published_columns,
    score_line,
    with_earlier,
    write_table,
)


def cells(text):
    """Return the rows of a Markdown table; a bar after a backslash is a letter."""
    rows = [line[1:-1].replace(r"\|", "\0").split("|") for line in text.splitlines()]
    return [[cell.strip().replace("\0", "|") for cell in row] for row in rows]


def test_only_columns_that_some_line_has_are_printed():
    lines = [
        score_line(Score("accuracy", 0.5, 0.25, 1.0, 8), group="tones", shuffled=0.25),
        score_line(Score("CIDEr-D", None, n=1, note="one clip"), group="captions"),
    ]
    found = cells(markdown(lines))
    titles = ("set", "metric", "n", "score", "95 % interval", "shuffled clips", "note")
    assert found[0] == [*titles]
    first = ("tones", "accuracy", "8", "0.5000", "0.2500 to 1.0000", "0.2500", "")
    assert found[2] == [*first]
    second = ("captions", "CIDEr-D", "1", "not computed", "", "", "one clip")
    assert found[3] == [*second]


def test_bars_and_line_breaks_stay_inside_their_cells():
    line = score_line(
        Score("a|b", 0.5, note="first\nsecond | third"), group="x\r\n|y", prompt="p\n|q"
    )
    header, rule, row = cells(markdown([line]))
    assert len(header) == len(rule) == len(row)
    assert dict(zip(header, row)) == {
        "set": "x |y",
        "prompt": "p |q",
        "metric": "a|b",
        "n": "0",
        "score": "0.5000",
        "note": "first second | third",
    }


def test_an_empty_table_is_written_too(tmp_path):
    text = write_table([], tmp_path, "test_scores")
    assert cells(text)[0] == ["set", "metric", "n", "score"]
    assert json.loads((tmp_path / "test_scores.json").read_text()) == []
    (header,) = (tmp_path / "test_scores.csv").read_text().splitlines()
    assert {"group", "metric", "n", "score", "low", "high"} <= {*header.split(",")}


def test_one_clip_has_no_interval_and_the_json_is_valid(tmp_path):
    score = mean_score("accuracy", [1.0])
    text = write_table([{"group": "x", "shuffled": np.float32("nan")}], tmp_path)
    assert "nan" not in text.lower()
    write_table([score_line(score, group="one")], tmp_path)

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    path = tmp_path / "table.json"
    (line,) = json.loads(path.read_text(), parse_constant=refuse)
    assert (line["score"], line["low"], line["high"], line["n"]) == (1.0, None, None, 1)


def test_csv_and_json_hold_the_lines_and_texts_as_they_are(tmp_path):
    line = score_line(
        Score("accuracy", 0.123456, note="a, b\nc"), group="x", commonest=np.float64(1)
    )
    write_table([line], tmp_path)
    assert json.loads((tmp_path / "table.json").read_text()) == [line]
    with open(tmp_path / "table.csv", newline="") as file:
        (read,) = csv.DictReader(file)
    assert (float(read["score"]), read["note"]) == (0.123456, "a, b\nc")
    assert float(read["commonest"]) == 1.0


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path):
    write_table([score_line(Score("accuracy", 0.5), group="old")], tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_table([{"group": "new", "note": {1, 2}}], tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_disk_that_is_full_leaves_the_old_table(tmp_path, monkeypatch):
    write_table([score_line(Score("accuracy", 0.5), group="old")], tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def half(path, content, **options):
        with open(path, "wb") as file:
            file.write(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="No space left"):
        write_table([score_line(Score("accuracy", 1.0), group="new")], tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_lines_of_other_sets_are_kept(tmp_path):
    old = [score_line(Score("a", n / 4), set=f"s{n}", group="old") for n in range(3)]
    write_table(old, tmp_path)
    new = [score_line(Score("b", 1.0), set="s1", group="new")]
    assert with_earlier(new, tmp_path) == [old[0], old[2], *new]


def test_a_published_figure_belongs_to_its_metric_and_way():
    published = [
        {"metric": "accuracy", "way": "likelihood", "value": 0.1, "by": "A"},
        {"metric": "accuracy", "value": 0.2, "by": "B", "verified": True},
    ]
    columns = published_columns(Score("accuracy", 0.5, way="similarity"), published)
    assert columns == {"published": 0.2, "published_by": "B"}
    assert published_columns(Score("mAP", 0.5), published) == {}
