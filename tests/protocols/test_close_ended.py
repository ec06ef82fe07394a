"""Answers to classes, against what the tone model is known to say."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from pengi_plugin.protocols import likelihoods as likelihoods_module
from pengi_plugin.protocols.close_ended import (
    class_scores,
    class_targets,
    class_texts,
    multi_label,
    single_label,
)
from pengi_plugin.protocols.embeddings import audio_embeddings
from pengi_plugin.protocols.session import generated_answers

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


def test_a_clip_that_changed_or_another_model_is_embedded_anew(session, rows, clips):
    first = audio_embeddings(session, rows)
    n_heard = session.model.n_heard
    audio_embeddings(session, rows)
    assert session.model.n_heard == n_heard
    clips(1500, rows[0]["id"])  # another tone in the file of that name
    again = audio_embeddings(session, rows)
    assert session.model.n_heard == n_heard + 1
    assert again[0].argmax() == 2 != first[0].argmax()
    assert (again[1:] == first[1:]).all()
    audio_embeddings(replace(session, settings={"model": "another"}), rows)
    assert session.model.n_heard == n_heard + 1 + len(rows)


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
    monkeypatch.setattr(likelihoods_module, "ANSWER_BATCH", 2)
    score, _ = single_label(session, rows, CLASSES, ways=["likelihood"])
    assert score.value == 6 / 8


def test_names_with_commas_stay_whole_in_a_list(session, clips, model):
    classes = ["air horn, truck horn", "dog"]
    model.words = {500: "Air horn, truck horn, dog", 1000: "dog", 1500: "", 2000: ""}
    rows = [
        clips(500, "a", labels=classes),
        clips(1000, "b", labels=["dog"]),
    ]
    scores = by_name(multi_label(session, rows, classes, ways=["similarity"]))
    assert scores["micro F1", "similarity"].value == 1.0


def test_classes_stand_behind_some_words_and_none_is_no_class(session, clips, model):
    model.words = {500: "rain, qualities like dog", 1000: "qualities like none"}
    rows = [clips(500, "a", labels=["dog"]), clips(1000, "b", labels=["rain"])]
    options = {"ways": ["similarity"], "after": "qualities like", "nothing": "none"}
    scores = by_name(multi_label(session, rows, ["dog", "rain"], **options))
    assert scores["micro F1", "similarity"].value == pytest.approx(2 * 1 / (1 + 2))
    with pytest.raises(ValueError, match="leave 'likelihood' out of the ways"):
        multi_label(session, rows, ["dog", "rain"], after="qualities like")


def test_map_says_over_which_of_the_classes_it_is(session, clips):
    rows = [clips(500, "a", labels=["dog"]), clips(1000, "b", labels=["rain"])]
    score = multi_label(session, rows, [*CLASSES, "wind"], ways=["similarity"])[0]
    assert score.note == "2 of 4 classes have clips; mAP is over these"


def test_likelihoods_of_a_part_leave_the_end_mark_out(session, rows, model):
    ends = []
    score = model.score_answers
    model.score_answers = lambda prefix, answers, end, n: (
        ends.append(end) or score(prefix, answers, end, n)
    )
    single_label(session, rows, CLASSES, ways=["likelihood"])
    single_label(session, rows, CLASSES, ways=["likelihood"], part=0)
    assert set(ends[: len(ends) // 2]) == {None}
    assert set(ends[len(ends) // 2 :]) == {""}
    with pytest.raises(ValueError, match="likelihood of part 1"):
        single_label(session, rows, CLASSES, ways=["likelihood"], part=1)


def test_the_prior_takes_off_what_a_name_has_about_silence(session, rows, model):
    way = "prior-corrected likelihood"
    values = class_scores(session, rows[:2], CLASSES, "{label}", way)
    # Silence is heard as the first word, "dog". Letters apart from "rain falling":
    # 16, 13 and 8; from "dog": 15, 0 and 7.
    assert values.tolist() == [[0, 0, 0], [15 - 16, 0 - 13, 7 - 8]]
    plain = class_scores(session, rows[:2], CLASSES, "{label}", "likelihood per token")
    assert plain[1] == pytest.approx([-16 / 13, -13 / 4, -8 / 5])


def test_an_unreadable_clip_is_wrong_by_every_way(session, rows):
    with open(rows[0]["wav"], "w") as file:
        file.write("no audio")
    for way in ("similarity", "likelihood"):
        (score, _) = single_label(session, rows, CLASSES, ways=[way])
        assert score.value == 5 / 8
    assert session.n_unreadable(rows) == 1


def test_all_right_has_the_interval_of_wilson(session, clips):
    rows = [clips(500, str(n), label="dog") for n in range(10)]
    for score in single_label(session, rows, CLASSES, ways=["similarity"]):
        assert (score.value, score.high) == (1.0, 1.0)
        assert score.low == pytest.approx(10 / (10 + 1.959964**2), abs=1e-4)


def test_a_macro_accuracy_lies_in_its_interval_where_a_class_is_rare(session, clips):
    rows = [clips(500, str(n), label="dog") for n in range(12)]
    rows += [clips(500, "x", label="rain"), clips(1000, "y", label="rain")]
    for score in single_label(session, rows, CLASSES, ways=["similarity"]):
        assert score.low <= score.value <= score.high
