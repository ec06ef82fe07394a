"""Rows of manifests become rows of protocols."""

import pytest

from pengi_plugin.protocols.rows import entry_rows

ROW = {"id": "a", "wav": "a.wav", "task": "sound_events", "labels": ["dog"], "fold": 2}
ENTRY = {"title": "Dogs", "fields": {"label": "labels", "fold": "fold"}}


def test_fields_get_the_names_that_the_protocol_reads():
    rows = [ROW, {**ROW, "id": "b", "fold": 3}]
    (row,) = entry_rows(rows, {**ENTRY, "where": {"fold": 3}})
    assert row == {
        "id": "b",
        "wav": "a.wav",
        "prompt": "this is a sound of",
        "label": "dog",
        "fold": 3,
    }


def test_a_prompt_of_the_entry_goes_before_that_of_the_task():
    (row,) = entry_rows([ROW], {**ENTRY, "prompt": "what is in fold {fold}?"})
    assert row["prompt"] == "what is in fold 2?"


def test_references_of_one_question_are_gathered_and_others_are_apart():
    ask = {"wav": "a.wav", "task": "question_answering", "question": "dogs?"}
    rows = [
        {"id": "1", **ask, "answer": "yes"},
        {"id": "2", **ask, "answer": "no"},
        {"id": "3", **ask, "question": "cats?", "answer": "no"},
    ]
    entry = {"title": "Questions", "fields": {"references": "answer"}}
    found = entry_rows(rows, entry)
    assert [(row["id"], row["references"]) for row in found] == [
        ("1", ["yes", "no"]),
        ("3", ["no"]),
    ]
    assert rows[0]["answer"] == "yes"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"fields": {"label": "genre"}},
            "Dogs: row 'a' has no 'genre', which",
        ),
        ({"prompt": "{question}"}, "Dogs: row 'a' has no 'question', which its prompt"),
        ({"where": {"fold": 9}}, r"Dogs: no row of its manifests has \{'fold': 9\}"),
    ],
)
def test_what_a_row_lacks_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        entry_rows([ROW], {**ENTRY, **change})


def test_two_labels_are_not_one():
    with pytest.raises(ValueError, match=r"'a' must have one label; got \['dog'"):
        entry_rows([{**ROW, "labels": ["dog", "x"]}], ENTRY)


def test_a_task_without_template_is_named():
    with pytest.raises(ValueError, match="has no 'birds', which its prompt or task"):
        entry_rows([{**ROW, "task": "birds"}], ENTRY)


def test_a_text_of_labels_is_divided_only_where_that_is_declared():
    row = {"id": "1", "wav": "1.wav", "task": "sound_events", "labels": "Bark,Dog"}
    entry = {"title": "Dogs", "fields": {"labels": "labels"}}
    assert entry_rows([row], entry)[0]["labels"] == ["Bark,Dog"]
    (found,) = entry_rows([row], {**entry, "separator": ","})
    assert found["labels"] == ["Bark", "Dog"]
    named = {**row, "labels": ["Air horn, truck horn"]}  # a list is as it is
    (found,) = entry_rows([named], {**entry, "separator": ","})
    assert found["labels"] == ["Air horn, truck horn"]
