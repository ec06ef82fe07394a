"""Answers on disk: interruption, resumption, settings."""

import json

import pytest

from pengi_plugin.protocols.answers import answer_rows, fingerprint, read_answers

ROWS = [{"id": f"clip {n}"} for n in range(7)]
SETTINGS = {"model": "m", "prompts": ["what?"]}


class Asked:
    """Answers with the ID in capitals; notes what it was asked, and may break."""

    def __init__(self, breaks_after=99):
        self.ids = []
        self.breaks_after = breaks_after

    def __call__(self, batch):
        if len(self.ids) >= self.breaks_after:
            raise KeyboardInterrupt
        self.ids += [row["id"] for row in batch]
        return [{"answer": row["id"].upper()} for row in batch]


def test_answers_come_in_the_order_of_the_rows(tmp_path):
    answers = answer_rows(ROWS[::-1], Asked(), tmp_path, SETTINGS, batch_size=3)
    assert [answer["answer"] for answer in answers] == [
        f"CLIP {n}" for n in range(6, -1, -1)
    ]


def test_an_interrupted_run_asks_only_what_is_left(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        answer_rows(ROWS, Asked(breaks_after=4), tmp_path, SETTINGS, batch_size=2)
    rest = Asked()
    answers = answer_rows(ROWS, rest, tmp_path, SETTINGS, batch_size=2)
    assert rest.ids == ["clip 4", "clip 5", "clip 6"]
    assert [answer["id"] for answer in answers] == [row["id"] for row in ROWS]


def test_a_line_cut_by_a_kill_is_answered_again(tmp_path):
    answer_rows(ROWS[:3], Asked(), tmp_path, SETTINGS)
    path = tmp_path / "answers-0.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    assert list(read_answers(tmp_path)) == ["clip 0", "clip 1"]
    rest = Asked()
    answer_rows(ROWS[:3], rest, tmp_path, SETTINGS)
    assert rest.ids == ["clip 2"]
    lines = path.read_text().splitlines()
    assert [json.loads(line)["answer"] for line in lines] == [
        "CLIP 0",
        "CLIP 1",
        "CLIP 2",
    ]


def test_answers_of_a_run_with_more_processes_are_used(tmp_path):
    answer_rows(ROWS[:2], Asked(), tmp_path, SETTINGS)
    (tmp_path / "answers-0.jsonl").rename(tmp_path / "answers-5.jsonl")
    rest = Asked()
    answer_rows(ROWS[:3], rest, tmp_path, SETTINGS)
    assert rest.ids == ["clip 2"]


def test_answers_to_another_prompt_are_never_mixed_in(tmp_path):
    answer_rows(ROWS, Asked(), tmp_path, SETTINGS)
    with pytest.raises(ValueError, match=r"\['what\?'\] then, \['why\?'\] now"):
        answer_rows(ROWS, Asked(), tmp_path, {**SETTINGS, "prompts": ["why?"]})


def test_ids_must_be_unique(tmp_path):
    with pytest.raises(ValueError, match="same ID"):
        answer_rows([ROWS[0], ROWS[0]], Asked(), tmp_path, SETTINGS)


def test_a_model_is_known_by_what_its_files_hold(tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lm.safetensors").write_bytes(name[:1].encode())
    one, two, three = (fingerprint(tmp_path / name) for name in ("one", "two", "three"))
    assert one != two
    assert two == three
    assert fingerprint("owner/model") == "owner/model"
