"""Several trainings and the same clips: what is compared, and over which clips."""

import pytest

from pengi_plugin.protocols import paired
from pengi_plugin.protocols.paired import compare_captions

REFERENCES = ["a dog barks", "rain falls", "bells ring", "a door creaks"]
ROWS = [
    {"id": str(index), "references": [text, "a cat and a dog"]}
    for index, text in enumerate(REFERENCES)
]


@pytest.fixture
def sessions(monkeypatch):
    """Trainings whose answers are known: one right once or never, one always."""
    known = {
        "A1": ["a dog barks", "people talk", "people talk", "people talk"],
        "A2": ["people talk"] * 4,
        "B1": REFERENCES,
        "B2": REFERENCES,
    }
    monkeypatch.setattr(paired, "generated_answers", lambda name, rows: known[name])
    return {"A: captions": ["A1", "A2"], "B: all": ["B1", "B2"]}


def test_the_difference_is_over_the_same_clips_with_its_interval(sessions):
    one_seed = {name: models[:1] for name, models in sessions.items()}
    table = compare_captions(one_seed, ROWS, notes={"B: all": "3 epochs"})
    lines = {(line["group"], line["metric"]): line for line in table}
    assert lines["A: captions", "token F1"]["score"] == pytest.approx(1 / 4)
    assert lines["B: all", "token F1"]["score"] == 1.0
    assert lines["B: all", "token F1"]["note"] == "3 epochs"
    gain = lines["B - A", "token F1"]
    assert gain["score"] == pytest.approx(3 / 4)
    assert gain["low"] < 3 / 4 < gain["high"] <= 1


def test_seeds_are_averaged_clip_by_clip_and_each_one_is_told(sessions):
    table = compare_captions(sessions, ROWS)
    lines = {(line["group"], line["metric"]): line for line in table}
    assert lines["A: captions", "token F1"]["score"] == pytest.approx(1 / 8)
    gain = lines["B - A", "token F1"]
    assert gain["score"] == pytest.approx(7 / 8)
    assert gain["note"] == "2 seeds: 0.75, 1"
    assert gain["n"] == 4  # clips, not clips of each seed
    assert 0.5 <= gain["low"] < 7 / 8  # the first clip's gains are 0 and 1: 0.5


def test_one_training_alone_or_other_numbers_of_seeds_are_refused(sessions):
    with pytest.raises(ValueError, match=r"Two trainings or more .* got \{'B: all': 2"):
        compare_captions({"B: all": sessions["B: all"]}, ROWS)
    sessions["A: captions"].pop()
    with pytest.raises(ValueError, match="each with as many seeds"):
        compare_captions(sessions, ROWS)
