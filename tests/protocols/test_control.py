"""Controls: where their answers come from."""

from pathlib import Path

from pengi_plugin.protocols import control
from pengi_plugin.protocols.control import (
    answers_to_other_clips,
    commonest_answers,
    nearest_answers,
    swap_clips,
)


def test_each_clip_is_exchanged_for_another_of_its_group_and_rows_keep_their_words():
    rows = [
        {"id": f"{group}{n}", "group": group, "wav": f"{group}{n // 2}", "n": n}
        for group in ("captions", "metadata")
        for n in range(10)  # two rows for each of five clips
    ]
    swapped = swap_clips(rows, seed=3)
    assert [(row["id"], row["n"]) for row in swapped] == [
        (row["id"], row["n"]) for row in rows
    ]
    for row, changed in zip(rows, swapped):
        assert changed["wav"] != row["wav"]
        assert changed["wav"].startswith(row["group"])
    for group in ("captions", "metadata"):
        wavs = {row["wav"] for row in swapped if row["group"] == group}
        assert wavs == {f"{group}{n}" for n in range(5)}
    assert swap_clips(rows, seed=3) == swapped != swap_clips(rows, seed=4)


def test_a_clip_that_is_alone_in_its_group_has_no_shuffled_answer(session, clips):
    rows = [
        {**clips(500, "a"), "group": "x"},
        {**clips(1500, "b"), "group": "x"},
        {**clips(500, "c"), "group": "y"},
    ]
    answers = answers_to_other_clips(session, rows, [], seed=0)
    assert answers == ["church bells", "dog", None]


def test_the_commonest_answer_is_that_of_the_group_in_training():
    heard = [
        {"group": group, "answer": answer}
        for group, answer in (("a", "x"), ("a", "y"), ("b", "x"), ("a", "y"))
    ]
    rows = [{"group": group} for group in "bca"]
    assert commonest_answers(None, rows, heard, seed=0) == ["x", None, "y"]


def test_a_nearest_clip_gives_its_answer_to_the_same_prompt(session, clips):
    def training(tone, name, prompt, answer):
        return {**clips(tone, name), "prompt": prompt, "answer": answer}

    known = [
        training(510, "low", "which?", "low"),
        training(1480, "high", "which?", "high"),
        training(520, "other", "what?", "a tone"),
    ]
    rows = [
        {**clips(500, "a"), "prompt": "which?"},
        {**clips(1500, "b"), "prompt": "which?"},
        {**clips(1500, "c"), "prompt": "what?"},  # nearest with this prompt is far
        {**clips(1500, "d"), "prompt": "where?"},
    ]
    assert nearest_answers(session, rows, known, seed=0) == [
        *("low", "high", "a tone", None)
    ]
    assert nearest_answers(session, rows, [], seed=0) == [None] * 4


def test_the_nearest_clip_is_looked_for_among_a_bounded_number(
    session, clips, monkeypatch
):
    known = [{**clips(500 + 10 * n, f"t{n}"), "answer": str(n)} for n in range(6)]
    rows = [clips(500, "a")]
    assert nearest_answers(session, rows, known, seed=0) == ["0"]
    monkeypatch.setattr(control, "N_NEAREST", 1)
    some = {nearest_answers(session, rows, known, seed)[0] for seed in range(8)}
    assert len(some) > 1


def test_a_training_clip_that_cannot_be_read_is_nobodys_nearest(session, clips):
    broken, known = clips(500, "broken"), clips(1500, "far")
    Path(broken["wav"]).write_text("no audio")
    rows = [clips(510, "a")]
    training = [{**broken, "answer": "broken"}, {**known, "answer": "far"}]
    assert nearest_answers(session, rows, training, seed=0) == ["far"]
    assert nearest_answers(session, rows, training[:1], seed=0) == [None]
