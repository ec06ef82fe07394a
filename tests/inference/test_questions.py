"""Questions of several users: each gets the reply that it would get alone."""

from dataclasses import replace

import pytest
import torch

from pengi_plugin.decoders.greedy import PrefixGreedySearcher
from pengi_plugin.inference import likelihood
from pengi_plugin.inference import questions as questions_module
from pengi_plugin.inference.questions import (
    Question,
    Reply,
    TooLongError,
    answer_questions,
)

LABELS = ("dog", "rain", "church bells")


@pytest.fixture
def questions(record):
    """Return questions that differ in length, prompt, search, windows and labels."""
    files = [str(record(f"{n}.wav", 0.4 + 0.9 * n, n)) for n in range(4)]
    return [
        Question(files[0], "what is it?"),
        Question(files[1], "generate audio caption", search={"beam_size": 2}),
        Question(files[2], "this is a sound of", labels=LABELS),
        Question(files[3], "music analysis", window="all"),
        Question(files[3], "this emotion is", labels=LABELS, method="likelihood"),
        Question(files[1], "what is it?", n_best=3),
        Question(files[1], "hm", search={"temperature": 1.0, "seed": 3}),
    ]


def check_same(one, other):
    """Compare replies: the same texts and times, and scores to rounding."""
    assert one.seconds == other.seconds
    assert len(one.windows) == len(other.windows)
    for left, right in zip(one.windows, other.windows):
        assert (left.start, left.end) == (right.start, right.end)
        for kind in ("answers", "labels"):
            left_items, right_items = getattr(left, kind), getattr(right, kind)
            assert [text for text, _ in left_items] == [text for text, _ in right_items]
            scores = [score for _, score in right_items]
            assert [score for _, score in left_items] == pytest.approx(scores, abs=1e-4)


def test_the_answer_is_that_of_generate_file(model, questions):
    replies = answer_questions(model, questions)
    for question, reply in zip(questions, replies):
        options = question.search
        if question.window == "all":
            expected = model.generate_file(question.path, question.prompt, window="all")
            assert len(expected) == 4
            found = [(w.start, w.end, w.answers[0][0]) for w in reply.windows]
            assert found == expected
        else:
            expected = model.generate_file(question.path, question.prompt, **options)
            assert [w.answers[0][0] for w in reply.windows] == [expected]
    answers = [reply.windows[0].answers[0][0] for reply in replies]
    assert len(set(answers)) > 3  # else the comparison says nothing


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_a_reply_does_not_depend_on_what_else_is_asked(model, questions, batch_size):
    together = answer_questions(model, questions, batch_size)
    for question, reply in zip(questions, together):
        (alone,) = answer_questions(model, [question])
        check_same(reply, alone)


def test_labels_are_ranked_as_classify_file_ranks_them(model, questions):
    asked = [question for question in questions if question.labels]
    assert {question.method for question in asked} == {"similarity", "likelihood"}
    for question, reply in zip(asked, answer_questions(model, asked)):
        how = (question.prompt, question.method)
        expected = model.classify_file(question.path, question.labels, *how)
        found = reply.windows[0].labels
        assert [label for label, _ in found] == [label for label, _ in expected]
        scores = [score for _, score in expected]
        assert [score for _, score in found] == pytest.approx(scores, abs=1e-4)


def test_alternatives_are_the_hypotheses_of_the_same_beam(model, record):
    path = str(record("a.wav"))
    (reply,) = answer_questions(model, [Question(path, "what is it?", n_best=4)])
    answers = reply.windows[0].answers
    assert len(answers) == 4
    assert answers[0][1] > answers[3][1]
    assert answers == model.ranked_file(path, "what is it?", 5)[:4]


def test_a_search_without_a_beam_gives_one_answer(with_searcher, record):
    model = with_searcher(PrefixGreedySearcher, max_new_tokens=5)
    path = str(record("a.wav"))
    (reply,) = answer_questions(model, [Question(path, "what is it?", n_best=3)])
    ((text, score),) = reply.windows[0].answers
    assert text == model.generate_file(path, "what is it?")
    assert score < 0


def test_bad_questions_harm_no_other(model, questions, record, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF no audio")
    path = questions[0].path
    bad = {
        1: (replace(questions[0], path=str(tmp_path / "broken.wav")), ValueError),
        3: (replace(questions[0], path=str(tmp_path / "absent.wav")), OSError),
        4: (replace(questions[0], search={"beam_size": 0}), ValueError),
        6: (replace(questions[0], prompt="word " * 500), ValueError),
        8: (Question(path, "what is it?", max_seconds=0.1), TooLongError),
        9: (replace(questions[0], prompt="a lone \ud800"), Exception),
    }
    asked = list(questions)
    for index, (question, _) in bad.items():
        asked.insert(index, question)
    replies = answer_questions(model, asked)
    for index, (_, kind) in bad.items():
        assert isinstance(replies[index], kind), replies[index]
    good = [reply for index, reply in enumerate(replies) if index not in bad]
    assert all(isinstance(reply, Reply) for reply in good)
    for question, reply in zip(questions, good, strict=True):
        check_same(reply, answer_questions(model, [question])[0])


def test_long_lists_of_labels_are_scored_in_parts(model, record, monkeypatch):
    path, labels = str(record("a.wav")), [f"label {n}" for n in range(7)]
    question = Question(path, "what is it?", labels=tuple(labels), method="likelihood")
    (whole,) = answer_questions(model, [question])
    n_scored = []
    scored = likelihood._part_log_probs

    def count(lm, logits, state, ids):
        n_scored.append(len(ids))
        return scored(lm, logits, state, ids)

    monkeypatch.setattr(likelihood, "_part_log_probs", count)
    monkeypatch.setattr(questions_module, "LABELS_AT_A_TIME", 3)
    (parts,) = answer_questions(model, [question])
    assert n_scored == [3, 3, 1]
    check_same(parts, whole)


def test_messages_have_the_name_that_the_user_knows(model, tmp_path):
    (tmp_path / "x").write_bytes(b"no audio")
    question = Question(str(tmp_path / "x"), "?", name="song.wav")
    (error,) = answer_questions(model, [question])
    assert str(error).startswith("song.wav cannot be read as audio")
    assert str(tmp_path) not in str(error)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": "some"}, "window must be one of first, all; got 'some'"),
        ({"method": "guess"}, "method must be one of similarity, likelihood"),
        ({"labels": ("dog",)}, r"at least two labels, none empty; got \['dog'\]"),
        ({"labels": ("dog", " ")}, "at least two labels, none empty"),
        ({"n_best": 0}, "n_best must be at least 1; got 0"),
    ],
)
def test_a_question_with_wrong_options_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Question("a.wav", "what is it?", **options)


def test_a_model_of_sequences_hears_all_of_a_recording(root, record):
    from hyperpyyaml import load_hyperpyyaml

    from pengi_plugin.inference import AudioLanguageModel

    torch.manual_seed(0)
    with open(root / "hparams" / "model" / "mini_sequence.yaml") as file:
        hparams = load_hyperpyyaml(file)
    hparams["pengi"].eval()
    model = AudioLanguageModel(hparams["modules"], hparams, run_opts={"device": "cpu"})
    files = [str(record(f"{n}.wav", seconds, n)) for n, seconds in enumerate((4, 1))]
    asked = [Question(path, "what is it?") for path in files]
    replies = answer_questions(model, [*asked, replace(asked[0], window="all")])
    for question, reply in zip(asked, replies):
        (window,) = reply.windows
        assert window.end == reply.seconds
        expected = model.generate_file(question.path, question.prompt)
        assert window.answers[0][0] == expected
    assert [w.end for w in replies[2].windows] == [2.55, 4.0]
