"""Two models and the same clips: what is compared, and over which clips."""

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
    """Two models whose answers are known: one right once, one always."""
    known = {
        "A": ["a dog barks", "people talk", "people talk", "people talk"],
        "B": REFERENCES,
    }
    monkeypatch.setattr(paired, "generated_answers", lambda name, rows: known[name])
    return {"model A": "A", "model B": "B"}


def test_the_difference_is_over_the_same_clips_with_its_interval(sessions):
    table = compare_captions(sessions, ROWS)
    lines = {(line["group"], line["metric"]): line for line in table}
    assert lines["model A", "token F1"]["score"] == pytest.approx(1 / 4)
    assert lines["model B", "token F1"]["score"] == 1.0
    gain = lines["difference", "token F1"]
    assert gain["score"] == pytest.approx(3 / 4)
    assert gain["low"] < 3 / 4 < gain["high"] <= 1
    assert ("difference", "BLEU-4") not in lines
    assert ("model A", "BLEU-4") in lines


def test_other_than_two_models_are_refused(sessions):
    del sessions["model A"]
    with pytest.raises(ValueError, match=r"Two models are compared; got \['model B'\]"):
        compare_captions(sessions, ROWS)
