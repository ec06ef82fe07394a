"""Answers to classes, against what the tone model is known to say."""

import csv

import numpy as np
import pytest

from pengi_plugin.protocols import session as session_module
from pengi_plugin.protocols.close_ended import (
    class_targets,
    class_texts,
    multi_label,
    single_label,
)
from pengi_plugin.protocols.session import audio_embeddings, generated_answers

CLASSES = ["church_bells", "dog", "rain"]


def by_name(scores):
    return {(score.metric, score.way): score for score in scores}


@pytest.fixture
def rows(clips):
    return [
        clip
        for number in range(2)
        for clip in (
            clips(500, f"a{number}", label="dog"),
            clips(1000, f"b{number}", label="rain"),
            clips(1500, f"c{number}", label="Church bells"),
        )
    ] + [clips(500, "wrong", label="rain"), clips(2000, "silent", label="rain")]


@pytest.mark.parametrize("way", ["similarity", "projected similarity", "likelihood"])
def test_a_clip_gets_the_class_whose_name_is_nearest_to_its_answer(way, session, rows):
    scores = by_name(single_label(session, rows, CLASSES, ways=[way]))
    # Six are right; one dog is labelled rain, and one answer is empty.
    assert scores["accuracy", way].value == 6 / 8
    assert scores["macro accuracy", way].value == pytest.approx((1 + 1 + 2 / 4) / 3)
    assert scores["accuracy", way].n == 8


def test_an_empty_answer_is_no_class_and_is_named(session, rows):
    (score, *_) = single_label(session, rows, CLASSES, ways=["similarity"])
    assert score.note == "1 empty answers count as wrong"
    with open(session.folder / "confusion_similarity.csv") as file:
        table = list(csv.reader(file))
    assert table[0] == ["right \\ predicted", *CLASSES, "(no answer)"]
    assert table[3] == ["rain", "0", "1", "2", "1"]


def test_a_model_that_never_says_anything_is_wrong_everywhere(session, clips):
    rows = [clips(2000, name, label="rain") for name in ("a", "b")]
    ways = ("similarity", "projected similarity")
    scores = by_name(single_label(session, rows, CLASSES, ways=ways))
    assert {score.value for score in scores.values()} == {0.0}


def test_projected_texts_go_through_the_projection(session, rows, model):
    model.words = {500: "rat", 1000: "train", 1500: "belch", 2000: ""}
    ways = ("similarity", "projected similarity")
    scores = by_name(single_label(session, rows, CLASSES, ways=ways))
    # By letters, "rat" and "train" are rain; by the first letter, "rat" alone is, and
    # what begins like no name is the first class, bells.
    assert scores["accuracy", "similarity"].value == (2 + 2 + 1) / 8
    assert scores["accuracy", "projected similarity"].value == (2 + 1) / 8


def test_clips_are_heard_once_for_all_ways_and_runs(session, rows, model):
    single_label(session, rows, CLASSES)
    heard = model.n_heard
    assert heard == 2 * len(rows)  # to answer, and to embed
    single_label(session, rows, CLASSES)
    assert model.n_heard == heard


def test_a_class_form_reaches_the_likelihood(session, rows, model):
    model.words = {500: "i hear dog", 1000: "i hear rain", 1500: "i hear church bells"}
    (score, _) = single_label(
        session, rows[:7], CLASSES, class_form="i hear {label}", ways=["likelihood"]
    )
    assert score.value == 6 / 7


def test_several_labels_are_scored_by_similarity_and_as_a_list(session, clips, model):
    model.words = {500: "dog, rain", 1000: "rain", 1500: "church bells, dog", 2000: ""}
    rows = [
        clips(500, "a", labels=["dog", "rain"]),
        clips(1000, "b", labels=["rain"]),
        clips(1500, "c", labels=["church_bells"]),
        clips(2000, "d", labels=["dog"]),
    ]
    scores = by_name(multi_label(session, rows, CLASSES, ways=["similarity"]))
    # Predicted dog: a, c; rain: a, b; bells: c. Right: 4 of 5; to find: 5.
    assert scores["micro F1", "similarity"].value == pytest.approx(2 * 4 / (5 + 5))
    f1 = [1.0, 2 * 1 / (2 + 2), 1.0]  # bells, dog, rain
    assert scores["macro F1", "similarity"].value == pytest.approx(np.mean(f1))
    # Bells: c first. Rain: b, a first. Dog: a first, d (no answer) last of 4.
    dog = (1 + 2 / 4) / 2
    expected = np.mean([1, dog, 1])
    assert scores["mAP", "similarity"].value == pytest.approx(expected)


def test_every_score_lies_in_its_interval(session, rows):
    for score in single_label(session, rows, CLASSES):
        assert score.low <= score.value <= score.high, score


def test_a_label_that_is_no_class_is_an_error():
    with pytest.raises(ValueError, match="'x' has the label 'cat'"):
        class_targets([{"id": "x", "label": "cat"}], CLASSES)


def test_a_form_without_a_place_for_the_name_is_an_error():
    with pytest.raises(ValueError, match=r"needs '\{label\}'"):
        class_texts(CLASSES, "a sound")


def test_embeddings_survive_the_disk_exactly(session, rows, model):
    first = audio_embeddings(session, rows)
    again = audio_embeddings(session, rows)
    wav = model.load_clip(rows[0]["wav"])[None]
    assert (first == again).all()
    assert (first[0] == model.encode_audio(wav, None)[0].numpy()).all()


def test_an_embedding_serves_every_prompt(session, rows, model):
    audio_embeddings(session, rows)
    heard = model.n_heard
    audio_embeddings(session, [{**row, "prompt": "and now?"} for row in rows])
    assert model.n_heard == heard


def test_answers_of_another_source_have_no_likelihoods(session, rows):
    said = session.with_answers(lambda asked: ["dog"] * len(asked), "always dog")
    first, _ = single_label(said, rows, CLASSES, ways=["similarity"])
    assert first.value == 2 / 8
    assert (session.folder / "always dog" / "confusion_similarity.csv").exists()
    with pytest.raises(ValueError, match="come from another source"):
        single_label(said, rows, CLASSES, ways=["likelihood"])


def test_answers_are_written_with_their_clips(session, rows):
    answers = generated_answers(session, rows)
    text = (session.folder / "answers" / "answers-0.jsonl").read_text()
    assert answers[1] == "rain falling"
    assert '"answer": "rain falling"' in text
    assert rows[1]["wav"] in text


def test_only_the_part_of_an_answer_that_holds_the_class_counts(session, clips, model):
    model.words = {500: "dog, rain rain rain", 1000: "rain, dog dog dog"}
    rows = [clips(500, "a", label="dog"), clips(1000, "b", label="rain")]
    first, _ = single_label(session, rows, CLASSES, ways=["similarity"], part=0)
    whole, _ = single_label(session, rows, CLASSES, ways=["similarity"])
    assert (first.value, whole.value) == (1.0, 0.0)


def test_many_classes_are_scored_a_batch_at_a_time(session, rows, monkeypatch):
    monkeypatch.setattr(session_module, "ANSWER_BATCH", 2)
    score, _ = single_label(session, rows, CLASSES, ways=["likelihood"])
    assert score.value == 6 / 8
