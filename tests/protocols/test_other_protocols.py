"""Captions, questions, numbers and retrieval with the tone model."""

import numpy as np
import pytest

from pengi_plugin.metrics import java_captions
from pengi_plugin.protocols.captioning import captioning
from pengi_plugin.protocols.numbers import numbers, part_after
from pengi_plugin.protocols.questions import question_answering
from pengi_plugin.protocols.retrieval import CaptionIndex, text_to_audio


def by_name(scores):
    return {(score.metric, score.way): score for score in scores}


def test_captions_are_scored_and_what_is_missing_is_named(session, clips, monkeypatch):
    monkeypatch.setattr(java_captions.shutil, "which", lambda name: None)
    rows = [
        clips(500, "a", references=["a dog"]),
        clips(1000, "b", references=["rain falling", "heavy rain"]),
    ]
    scores = by_name(captioning(session, rows, ["rouge_l", "spider"]))
    # ROUGE-L of "dog" and "a dog": precision 1, recall 1/2; of the other clip 1.
    expected = (1 + 1.2**2) * 0.5 / (0.5 + 1.2**2)
    assert scores["ROUGE-L", ""].value == pytest.approx((expected + 1) / 2)
    assert scores["SPIDEr", ""].value is None
    assert scores["SPIDEr", ""].note.startswith("needs Java")


def test_yes_no_questions_are_apart_from_open_ones(session, clips, model):
    model.words = {500: "Yes.", 1000: "no", 1500: "two dogs", 2000: "a cat"}
    rows = [
        clips(500, "a", references=["yes"]),
        clips(1000, "b", references=["yes"]),
        clips(1500, "c", references=["two dogs", "dogs"]),
        clips(2000, "d", references=["the cat meows"]),
    ]
    scores = by_name(question_answering(session, rows))
    assert scores["accuracy", "all questions"].value == 2 / 4
    assert scores["accuracy", "yes/no"].value == 1 / 2
    assert scores["accuracy", "open"].value == 1 / 2
    f1 = 2 * 1 / (1 + 2)
    assert scores["token F1", "open"].value == pytest.approx((1 + f1) / 2)


def test_each_annotators_answer_can_be_a_question_of_its_own(session, clips, model):
    model.words = {500: "yes", 1000: "two"}
    rows = [
        clips(500, "a", references=["yes", "no", "yes"]),
        clips(1000, "b", references=["three", "two", "ten"]),
    ]
    scores = by_name(question_answering(session, rows, every_reference=True))
    assert scores["accuracy", "yes/no"].value == pytest.approx(2 / 3)
    assert scores["accuracy", "open"].value == pytest.approx(1 / 3)
    scores = by_name(question_answering(session, rows))
    assert scores["accuracy", "all questions"].value == 1.0


def test_a_kind_of_question_that_does_not_occur_is_left_out(session, clips):
    scores = by_name(question_answering(session, [clips(500, "a", references=["dog"])]))
    assert ("accuracy", "yes/no") not in scores


def test_numbers_are_read_behind_their_word(session, clips, model):
    model.words = {500: "violin, pitch 60", 1000: "3 flutes", 1500: "bell, pitch 70"}
    rows = [clips(tone, str(tone), number=60) for tone in (500, 1000, 1500)]
    scores = by_name(numbers(session, rows, "pitch"))
    assert scores["exact", "pitch"].value == pytest.approx(1 / 3)
    assert scores["mean absolute error", "pitch"].value == 5
    assert scores["mean absolute error", "pitch"].n == 2
    assert "1 answers without a number" in scores["mean absolute error", "pitch"].note


def test_a_number_behind_another_word_does_not_count():
    assert part_after("velocity 90, pitch 60", "pitch").strip() == "60"
    assert part_after("pitched 90", "pitch") == ""


@pytest.fixture
def found(clips):
    return [
        clips(500, "a", references=["a dog"]),
        clips(1000, "b", references=["falling rain"]),
        clips(1500, "c", references=["bells of a church", "a dog"]),
    ]


@pytest.mark.parametrize("way", ["captions", "likelihood"])
def test_queries_find_the_clip_that_sounds_like_them(way, session, found):
    scores = by_name(text_to_audio(session, found, [way]))
    assert scores["R@1", way].value == 1
    assert scores["R@1", way].n == 3
    # "a dog" is said of two clips: found first and, by letters, second or third.
    assert 2 / 3 < scores["mAP@10", way].value <= 1
    assert "3 queries among 3 clips" in scores["R@1", way].note


def test_a_second_query_hears_nothing(session, found, model):
    text_to_audio(session, found)
    heard = model.n_heard
    text_to_audio(session, found)
    index = CaptionIndex.load(session.folder / "index_captions")
    best = index.best(model, "the church bell", n=2)
    assert model.n_heard == heard
    assert best[0][:2] == ("c", "church bells")
    assert best[0][2] > best[1][2]


def test_a_changed_clip_or_prompt_is_found_by_what_is_said_now(
    session, found, clips, model
):
    text_to_audio(session, found, ["captions"])
    clips(1000, "a")  # in place of the dog
    scores = by_name(text_to_audio(session, found, ["captions"]))
    index = CaptionIndex.load(session.folder / "index_captions")
    assert index.captions == ["rain falling", "rain falling", "church bells"]
    assert scores["R@1", "captions"].value < 1
    model.words[1000] = "snow"
    asked = [{**row, "prompt": "and now?"} for row in found]
    text_to_audio(session, asked, ["captions"])
    index = CaptionIndex.load(session.folder / "index_captions")
    assert index.captions == ["snow", "snow", "church bells"]


def test_an_empty_caption_is_near_to_nothing(session, clips, model, tmp_path):
    rows = [clips(2000, "a", references=["b"]), clips(500, "d", references=["dog"])]
    index = CaptionIndex.build(session, rows, tmp_path / "index")
    assert index.similarity(model, ["dog"]).tolist() == [[0.0, pytest.approx(1.0)]]
    assert np.isfinite(index.points.numpy()).all()


def test_one_clip_has_no_caption_score_and_says_so(session, clips):
    (score,) = captioning(session, [clips(500, "a", references=["dog"])], ["cider_d"])
    assert (score.value, score.n) == (None, 1)
    assert "two clips" in score.note
