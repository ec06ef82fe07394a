"""Pengi and CLAP on the same clips: who is asked how, and what the difference is of."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pengi_plugin.protocols import two_models
from pengi_plugin.protocols.embeddings import contrastive_scores
from pengi_plugin.protocols.retrieval import audio_to_text, text_to_audio
from pengi_plugin.protocols.score import Score
from pengi_plugin.protocols.session import Session
from tests.tone_model import write_tone

ROWS = [{"id": str(n), "label": label} for n, label in enumerate("abca")]


@pytest.fixture
def sessions():
    pengi = SimpleNamespace(model=SimpleNamespace())
    clap = SimpleNamespace(model=SimpleNamespace(encode_text=None))
    return {"Pengi": pengi, "CLAP": clap}


def by_model(table, metric):
    return {line["model"]: line for line in table if line["metric"] == metric}


def test_each_model_is_asked_in_its_own_way_and_the_difference_is_paired(
    sessions, monkeypatch
):
    asked = []
    right = np.eye(3)[[0, 1, 2, 0]]
    wrong = np.eye(3)[[0, 2, 1, 0]]

    def scores(session, rows, classes, form, way, part):
        asked.append((way, form, part))
        return right if way == "similarity" else wrong

    monkeypatch.setattr(two_models, "class_scores", scores)
    table = two_models.compare_classes(
        sessions, ROWS, class_form="a sound of {label}", part=0
    )
    assert asked == [
        ("similarity", "{label}", 0),
        ("contrastive", "a sound of {label}", None),
    ]
    lines = by_model(table, "accuracy")
    assert {name: line["score"] for name, line in lines.items()} == {
        "Pengi": 1.0,
        "CLAP": 0.5,
        "Pengi - CLAP": 0.5,
    }
    gain = lines["Pengi - CLAP"]
    assert gain["n"] == 4
    assert 0 <= gain["low"] < 0.5 < gain["high"] <= 1


def test_the_difference_of_equal_models_is_zero_with_no_width(sessions, monkeypatch):
    values = np.random.default_rng(0).random((4, 3))
    monkeypatch.setattr(two_models, "class_scores", lambda *arguments: values)
    rows = [{"id": row["id"], "labels": [row["label"]]} for row in ROWS]
    gain = by_model(two_models.compare_labels(sessions, rows), "mAP")["Pengi - CLAP"]
    assert (gain["score"], gain["low"], gain["high"]) == (0.0, 0.0, 0.0)


def test_retrieval_compares_the_rank_of_the_same_queries(sessions, monkeypatch):
    rows = [{"id": str(n), "references": [text]} for n, text in enumerate("abc")]
    ranks = {"captions": np.eye(3), "contrastive": -np.eye(3)}
    monkeypatch.setattr(two_models, "query_scores", lambda s, r, t, way: ranks[way])
    table = two_models.compare_retrieval(sessions, rows)
    first = by_model(table, "R@1")
    assert [line["score"] for line in first.values()] == [1.0, 0.0, 1.0]
    assert by_model(table, "R@5")["Pengi - CLAP"]["score"] == 0.0
    assert by_model(table, "mAP@10")["CLAP"]["score"] == pytest.approx(1 / 3)


def test_intervals_of_retrieval_are_over_clips_not_captions(sessions, monkeypatch):
    """Five captions a clip, all found or none: as wide as one caption a clip is."""

    def width(n_caption):
        rows = [
            {"id": str(n), "references": [f"{n:02} {k}" for k in range(n_caption)]}
            for n in range(20)
        ]
        found = np.repeat(np.eye(20) * np.resize([1, -1], 20), n_caption, axis=0)
        monkeypatch.setattr(two_models, "query_scores", lambda *arguments: found)
        line = by_model(two_models.compare_retrieval(sessions, rows), "R@1")["CLAP"]
        assert line["score"] == 0.5
        return line["high"] - line["low"]

    assert width(5) == pytest.approx(width(1), abs=0.06)


@pytest.mark.parametrize("value", [-50.0, 0.5])
def test_a_clip_that_cannot_be_read_is_ranked_last(sessions, monkeypatch, value):
    """Also where scores are log-probabilities, far below -1."""
    values = np.resize([value, np.nan, value - 1], 30)[:, None]
    monkeypatch.setattr(two_models, "class_scores", lambda *arguments: values)
    labels = [["dog"], [], ["dog"]] * 10
    rows = [{"id": str(n), "labels": some} for n, some in enumerate(labels)]
    lines = by_model(two_models.compare_labels(sessions, rows), "mAP")
    assert lines["Pengi"]["score"] == 1.0


def test_equal_shares_of_other_clips_are_a_difference_with_a_width():
    scores = {"Pengi": np.resize([1.0, 0.0], 100), "CLAP": np.resize([0.0, 1.0], 100)}
    *_, gain = two_models.difference_lines(
        "accuracy", scores, dict.fromkeys(scores, "")
    )
    assert gain["score"] == 0.0
    assert gain["low"] < -0.1 < 0.1 < gain["high"]


def test_probes_are_compared_on_the_tested_clips(sessions, monkeypatch):
    generator = np.random.default_rng(1)
    labels = [n % 2 for n in range(40)]
    told = np.eye(2)[labels] + 0.01 * generator.standard_normal((40, 2))
    noise = generator.standard_normal((40, 2))
    known = {id(sessions["Pengi"]): told, id(sessions["CLAP"]): noise}
    monkeypatch.setattr(two_models, "audio_embeddings", lambda s, rows: known[id(s)])
    rows = [
        {"id": str(n), "wav": f"{n}.wav", "label": "ab"[label]}
        | {"fold": "train" if n < 20 else "test"}
        for n, label in enumerate(labels)
    ]
    table = two_models.compare_probes(sessions, rows, kinds=["L1"], seeds=[0, 1])
    lines = by_model(table, "accuracy of L1")
    assert lines["Pengi"]["score"] == 1.0
    assert lines["Pengi"]["n"] == lines["Pengi - CLAP"]["n"] == 20
    assert lines["CLAP"]["score"] < 0.8
    gain = lines["Pengi - CLAP"]["score"]
    assert gain == pytest.approx(1.0 - lines["CLAP"]["score"])


def test_of_what_is_written_clap_says_that_it_cannot(sessions):
    def protocol(session, rows):
        assert session is sessions["Pengi"]
        return [Score("exact match", 0.75, 0.5, 1.0, len(rows))]

    pengi, clap = two_models.compare_words(sessions, ROWS, protocol)
    assert (pengi["model"], pengi["score"], pengi["n"]) == ("Pengi", 0.75, 4)
    assert (clap["model"], clap["score"]) == ("CLAP", None)
    assert "cannot" in clap["note"]


def test_other_than_two_models_are_refused(sessions):
    with pytest.raises(ValueError, match=r"Two models are compared; got \['CLAP'\]"):
        two_models.compare_classes({"CLAP": sessions["CLAP"]}, ROWS)


class Compass:
    """A CLAP that knows the direction of every clip and text."""

    angles = {"a": 0.0, "b": 1.0, "c": 2.0}

    def load_clip(self, path):
        return torch.tensor([float(path[-5]) if path[-5].isdigit() else 0.0])

    def encode_audio(self, wavs, wav_lens):
        return torch.stack([wavs[:, 0].cos(), wavs[:, 0].sin()], dim=1)

    def encode_text(self, texts):
        angles = torch.tensor([self.angles[text] for text in texts])
        return torch.stack([angles.cos(), angles.sin()], dim=1)


def test_contrastive_scores_are_cosines_and_rank_both_ways(tmp_path):
    rows = []
    for number, text in enumerate("abc"):
        path = tmp_path / f"{number}.wav"
        write_tone(path, 100)
        rows.append({"id": text, "wav": str(path), "references": [text]})
    session = Session(Compass(), tmp_path / "answers", {"model": "compass"})
    found = contrastive_scores(session, rows, list("abc"))
    assert found[0] == pytest.approx([1.0, np.cos(1.0), np.cos(2.0)], abs=1e-6)
    scores = text_to_audio(session, rows, ["contrastive"]) + audio_to_text(
        session, rows
    )
    assert [score.value for score in scores if score.metric == "R@1"] == [1.0, 1.0]
    Compass.angles = {"a": 0.9, "b": 0.1, "c": 2.0}
    scores = audio_to_text(session, rows)
    assert scores[0].value == pytest.approx(1 / 3)
    assert scores[1].value == 1.0


def test_a_pengi_has_no_contrastive_scores(session):
    with pytest.raises(ValueError, match=r"AudioTextModel\); got a ToneModel"):
        contrastive_scores(session, [], ["a"])
