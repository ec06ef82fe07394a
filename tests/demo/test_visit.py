"""What visitors fill in becomes questions, and replies become what is shown."""

import math
import re

import pytest

from pengi_plugin.demo.visit import (
    CHOICES,
    OWN_PROMPT,
    make_question,
    needs_words,
    show_answer,
    show_error,
    show_labels,
)
from pengi_plugin.inference.questions import Question, Reply, Window
from pengi_plugin.tasks import TASKS, apply

FILLED = {
    "path": "uploads/abc/song.wav",
    "choice": "captioning",
    "words": "",
    "labels": "",
    "method": "nearness to the answer",
    "window": "the beginning",
    "max_seconds": 60,
}


def ask(**changes):
    return make_question(**FILLED | changes)


def reply(question, answers, labels=(), n_window=1):
    windows = [Window(n, n + 1.0, list(answers), list(labels)) for n in range(n_window)]
    return show_answer(question, Reply(float(n_window), windows))


def test_every_task_of_the_paper_can_be_chosen_and_has_its_prompt():
    words = {name: "x" for template in TASKS.values() for name in template.fields()}
    assert set(CHOICES.values()) == {*TASKS, None}
    for choice, name in CHOICES.items():
        if name is not None:
            assert ask(choice=choice, words="x").prompt == apply(name, words)[0]


def test_a_question_is_asked_as_in_training_and_an_own_prompt_as_it_is_typed():
    question = ask(choice="question answering", words=" who {barks}? ")
    assert question.prompt == "question: who {barks}?"
    assert ask(choice=OWN_PROMPT, words="who {barks}?").prompt == "who {barks}?"
    assert needs_words(OWN_PROMPT)
    assert not needs_words("sound events")


def test_labels_are_separated_by_commas_or_lines_and_each_is_asked_once():
    question = ask(labels="dog, rain\nchurch bells,,dog ", window="every window")
    assert question.labels == ("dog", "rain", "church bells")
    assert (question.window, question.method) == ("all", "similarity")
    assert question.name == "song.wav"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": None}, "Upload or record a sound first"),
        ({"choice": "question answering", "words": " "}, "Type a question first"),
        ({"choice": "cooking"}, "Choose a task of the list; got 'cooking'"),
        ({"method": "luck"}, "Choose a scores of the list|got 'luck'"),
        ({"window": "none"}, "Choose a window of the list; got 'none'"),
        ({"labels": "dog"}, "at least two labels"),
        ({"labels": ",".join(map(str, range(201)))}, "at most 200 labels; got 201"),
        ({"choice": OWN_PROMPT, "words": "a" * 1001}, "at most 1000 letters"),
        ({"labels": "a," * 6000}, "at most 10000 letters"),
    ],
)
def test_what_is_filled_in_wrongly_is_said(changes, message):
    with pytest.raises(ValueError, match=message):
        ask(**changes)


def test_texts_of_visitors_and_models_are_no_html():
    evil = "<script>alert(1)</script>"
    question = Question("a.wav", evil, labels=(evil, "b"))
    answers, labels = [(evil, -1.0)] * 2, [(evil, 0.5), ("b", 0.1)]
    shown = [
        reply(question, answers, labels),
        reply(question, answers, labels, n_window=2),
        show_labels(question, Reply(1.0, [Window(0.0, 1.0, answers, labels)])),
        show_error(ValueError(evil)),
        show_error(ValueError(f"of {evil}"), question),
    ]
    assert all("&lt;script&gt;" in text and "<script" not in text for text in shown)


def test_alternatives_are_shown_for_one_window_and_times_for_several():
    question = Question("a.wav", "what is it?")
    one = reply(question, [("a dog", -0.5), ("a wolf", -0.75)])
    assert re.findall(r"<td>(.*?)</td>", one) == ["a wolf", "-0.75"]
    several = reply(question, [("a dog", -0.5), ("a wolf", -0.75)], n_window=2)
    cells = re.findall(r"<td>(.*?)</td>", several)
    assert cells == [
        *("0.00 to 1.00 s", "a dog", "-0.50"),
        *("1.00 to 2.00 s", "a dog", "-0.50"),
    ]


def test_bars_of_log_probabilities_are_shares_and_of_cosines_the_cosines():
    labels = [("dog", math.log(0.03)), ("rain", math.log(0.01))]
    by_method = {}
    for method in ("likelihood", "similarity"):
        question = Question("a.wav", "?", labels=("dog", "rain"), method=method)
        ranked = labels if method == "likelihood" else [("dog", 0.25), ("rain", -0.5)]
        shown = show_labels(question, Reply(1.0, [Window(0.0, 1.0, [], ranked)]))
        widths = [float(width) for width in re.findall(r"width:([\d.]+)%", shown)]
        numbers = re.findall(r"<em>(.*?)</em>", shown)
        by_method[method] = widths, numbers
    assert by_method["likelihood"] == ([75.0, 25.0], ["0.750", "0.250"])
    assert by_method["similarity"] == ([25.0, 0.0], ["0.250", "-0.500"])


def test_a_fault_of_the_server_does_not_blame_the_visitor():
    assert "The model could not answer" in show_error(RuntimeError("out of memory"))
    assert "could not answer" not in show_error(ValueError("no audio"))


def test_an_error_names_the_file_as_the_visitor_does_and_no_path():
    question = Question("/srv/uploads/f00d/dog.wav", "what is it?", name="dog.wav")
    wrong = ValueError("/srv/uploads/f00d/dog.wav has NaN at 1 s")
    assert "dog.wav has NaN at 1 s" in show_error(wrong, question)
    for error in (
        *(wrong, FileNotFoundError("There is no file /srv/uploads/f00d/dog.wav.")),
        PermissionError(13, "Permission denied", "/srv/models/lm.safetensors"),
        RuntimeError("kernel of /srv/lib/python/torch.so failed"),
    ):
        assert "/srv" not in show_error(error, question)
    relative = Question("a", "what is it?", name="dog.wav")
    assert "a bad file" in show_error(ValueError("a bad file"), relative)
