"""Many tasks at once, with what the tone model is known to say."""

import functools

import pytest

from pengi_plugin.protocols.exact_match import exact_match
from pengi_plugin.protocols.task_scores import score_tasks

PROTOCOLS = {
    "default": {"protocol": exact_match},
    "question_answering": {"by": "question_kind"},
    "music_note": {
        "protocol": functools.partial(exact_match, parts=["instrument", "", "loudness"])
    },
}


@pytest.fixture
def row(clips):
    """Return a function: tone, name, task, references, other fields -> a row."""

    def make(tone, name, task, *references, **fields):
        words = {"corpus": "tones", "task": task, "references": list(references)}
        return {**clips(tone, name), **words, "answer": references[0], **fields}

    return make


@pytest.fixture
def questions(row):
    ask = functools.partial(row)
    task = "question_answering"
    return [
        ask(500, "a", task, "dog", question_kind="what"),
        ask(1000, "b", task, "rain falling", question_kind="what"),
        ask(500, "c", task, "cat", "Dog.", question_kind="which"),
        ask(1500, "d", task, "dog", question_kind="which"),
    ]


def by_group(lines):
    return {(line["group"], line["way"]): line for line in lines}


def test_each_kind_of_question_and_all_of_them_have_a_score_beside_its_controls(
    session, row, questions
):
    rows = [*questions, row(500, "e", "sound_events", "dog")]
    training = [
        row(500, "t", "question_answering", "dog", question_kind="what"),
        row(500, "u", "question_answering", "dog", question_kind="which"),
    ]
    lines = by_group(score_tasks(session, rows, PROTOCOLS, training))
    figures = {
        group: [line[key] for key in ("n", "score", "commonest", "shuffled")]
        for (group, _), line in lines.items()
        if "question" in group
    }
    # a, b, c right; about each other's clips: a, b and c wrong, d right.
    assert figures == {
        "tones: question_answering": [4, 3 / 4, 3 / 4, 1 / 4],
        "tones: question_answering, what": [2, 1.0, 1 / 2, 0.0],
        "tones: question_answering, which": [2, 1 / 2, 1.0, 1 / 2],
    }
    total = lines["tones: question_answering", ""]
    assert 0 <= total["low"] < total["score"] < total["high"] <= 1


def test_a_task_with_one_kind_of_rows_has_one_line(session, questions):
    (line,) = score_tasks(session, questions[:2], PROTOCOLS, questions[:2])
    assert line["group"] == "tones: question_answering, what"


def test_a_control_without_an_answer_has_no_figure(session, row):
    (line,) = score_tasks(session, [row(500, "e", "music", "dog")], PROTOCOLS, [])
    assert line["group"] == "tones: music"
    assert line["score"] == 1.0
    assert line["low"] is line["high"] is None  # one clip has no interval
    assert "commonest" not in line
    assert "shuffled" not in line


def test_named_parts_of_an_answer_get_scores_of_their_own(session, row, model):
    model.words = {500: "violin, pitch 3, loud", 1000: "cello, pitch 5", 1500: ""}
    rows = [
        row(500, "a", "music_note", "violin, pitch 4, loud"),
        row(1000, "b", "music_note", "cello, pitch 5, soft"),
        row(1500, "c", "music_note", "cello, pitch 5, soft", "flute, pitch 5"),
    ]
    lines = by_group(score_tasks(session, rows, PROTOCOLS, []))
    scores = {way: line["score"] for (_, way), line in lines.items()}
    assert scores == {
        "": 0.0,
        "instrument": pytest.approx(2 / 3),
        "loudness": pytest.approx(2 / 3),  # the flute's has none either
    }


def test_a_prompt_about_a_clip_is_asked_once_also_for_the_controls(
    session, questions, model
):
    score_tasks(session, questions, PROTOCOLS, questions)
    # All prompts are the same: what the control asks about other clips is known.
    assert len(model.prompts) == len(questions)
    # and once for the control of the nearest clip, by its spectrum
    assert model.n_heard == 2 * len(questions)
    score_tasks(session, questions, PROTOCOLS, questions)
    assert model.n_heard == 2 * len(questions)


def test_a_clip_that_cannot_be_read_is_wrong_and_counted(session, questions):
    with open(questions[0]["wav"], "w") as file:
        file.write("no audio")
    lines = score_tasks(session, questions, PROTOCOLS, [], controls={})
    noted = [line for line in lines if line["note"].startswith("1 unreadable")]
    assert noted
    assert all(line["score"] < 1 for line in noted)
    assert session.n_unreadable(questions) == 1


def test_a_control_is_one_function(session, questions):
    def always_dog(session, rows, training_rows, seed):
        return ["dog"] * len(rows)

    lines = score_tasks(session, questions, PROTOCOLS, [], controls={"dog": always_dog})
    total = by_group(lines)["tones: question_answering", ""]
    assert total["dog"] == 3 / 4
    assert "shuffled" not in total


def test_a_protocol_that_fails_stops_no_other(session, row, questions):
    def broken(session, rows):
        raise ZeroDivisionError("no such number")

    protocols = {**PROTOCOLS, "sound_events": {"protocol": broken}}
    rows = [*questions, row(500, "e", "sound_events", "dog")]
    lines = by_group(score_tasks(session, rows, protocols, []))
    failed = lines["tones: sound_events", ""]
    assert failed["score"] is None
    assert failed["note"] == "ZeroDivisionError: no such number"
    assert lines["tones: question_answering", ""]["score"] == 3 / 4


def test_a_task_without_protocol_is_named_before_anything_is_asked(
    session, questions, model
):
    with pytest.raises(ValueError, match="'question_answering' has no protocol"):
        score_tasks(session, questions, {"question_answering": {"by": "kind"}}, [])
    assert model.n_heard == 0
