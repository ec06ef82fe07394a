"""Captions, questions, numbers and retrieval with the tone model."""

import numpy as np
import pytest

from pengi_plugin.metrics import java_captions
from pengi_plugin.protocols.captioning import captioning
from pengi_plugin.protocols.clock import Clock
from pengi_plugin.protocols.numbers import numbers, part_after
from pengi_plugin.protocols.questions import question_answering
from pengi_plugin.protocols.retrieval import (
    CaptionIndex,
    combined_scores,
    query_scores,
    reranked_scores,
    text_to_audio,
)


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


@pytest.mark.parametrize("way", ["captions", "likelihood", "captions and likelihood"])
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


def test_the_best_by_captions_are_put_in_the_order_of_their_likelihoods(
    session, clips, model
):
    found = [
        clips(500, "a", references=["dog"]),
        clips(1000, "b", references=["rain"]),
        clips(1500, "c", references=["church bells"]),
        clips(500, "d", references=["dog"]),
    ]
    model.words[1000] = "rain"
    scored = []
    score = model.score_answers
    model.score_answers = lambda prefix, answers, *rest: (
        scored.append(len(prefix) * len(answers)) or score(prefix, answers, *rest)
    )
    every = by_name(text_to_audio(session, found, ["likelihood"]))
    assert sum(scored) == 3 * 4
    scored.clear()
    best = by_name(text_to_audio(session, found, ["likelihood"], rerank=2))
    assert sum(scored) == 3 * 2
    way = "likelihood of the best 2 by captions"
    assert best["R@1", way].value == every["R@1", "likelihood"].value == 1.0
    with pytest.raises(ValueError, match="1 or more; got 0"):
        text_to_audio(session, found, rerank=0)


def test_an_order_by_likelihood_does_not_reach_behind_the_best(session, clips, model):
    """The right clip is third by captions, first by likelihood."""
    model.words = {500: "dog", 1000: "rain", 1500: "church", 2000: "rains"}
    found = [
        clips(2000, "a", references=["snow"]),
        clips(1000, "b", references=["rain"]),
        clips(500, "c", references=["dig"]),
    ]
    captions = query_scores(session, found, ["rain"], "captions")[0]
    order = np.argsort(-captions).tolist()
    assert order[:2] == [1, 0]
    ranks = reranked_scores(session, found, ["rain"], 1)[0]
    assert np.argsort(-ranks).tolist() == order
    assert np.argsort(-reranked_scores(session, found, ["rain"], 3)[0])[0] == 1


def test_combined_scores_weigh_both_alike_whatever_their_scales():
    cosines = np.array([[0.9, 0.8, 0.1], [0.2, 0.9, 0.3]])
    likelihoods = np.array([[-90.0, -10.0, -80.0], [-5.0, -6.0, np.nan]])
    combined = combined_scores(cosines, likelihoods)
    assert combined[0].argmax() == 1  # second by captions, by far the likeliest
    rescaled = combined_scores(7 * cosines - 3, likelihoods / 100)
    assert combined == pytest.approx(rescaled, nan_ok=True)
    assert np.isnan(combined).tolist() == [[False] * 3, [False, False, True]]
    same = np.array([[0.5, 0.5 + 1e-9, 0.5 - 1e-9]])  # a model that says one thing
    assert combined_scores(same, likelihoods[:1])[0].argmax() == 1
    assert combined_scores(same, same).tolist() == [[0.0] * 3]


def test_an_unreadable_clip_is_found_by_no_query(session, clips):
    found = [clips(500, "a", references=["dog"]), clips(1000, "b", references=["rain"])]
    with open(found[0]["wav"], "w") as file:
        file.write("no audio")
    scores = by_name(text_to_audio(session, found, ["captions", "likelihood"]))
    assert scores["R@1", "likelihood"].value == 1 / 2
    assert session.n_unreadable(found) == 1


def test_questions_of_a_clip_are_drawn_together_and_an_empty_one_is_wrong(
    session, clips
):
    questions = [
        {**clips(500, "a", references=["dog"]), "id": f"a{n}", "prompt": f"what {n}?"}
        for n in range(20)
    ] + [
        {**clips(1000, "b", references=["x"]), "id": f"b{n}", "prompt": f"what {n}?"}
        for n in range(20)
    ]
    score = question_answering(session, questions)[0]
    # Two clips, all right and all wrong: resamples are 0, one half or 1.
    assert (score.value, score.low, score.high) == (0.5, 0.0, 1.0)
    questions[0]["references"] = []
    score = question_answering(session, questions)[0]
    assert score.value == 19 / 40
    assert score.note == "1 questions without an answer count as wrong"


def test_many_scorings_are_told_with_the_time_they_take(caplog):
    clock = Clock(5_400_000)
    clock.tick(1000)
    assert not caplog.text
    clock.tick(1000)
    assert "5400000 texts are scored about clips" in caplog.text
    assert "the first 2000 this takes" in caplog.text
