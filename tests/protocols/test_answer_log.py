"""Answers on disk: interruption, resumption, settings."""

import json
import os
import subprocess
import sys

import pytest

from pengi_plugin.protocols.answer_log import answer_rows, fingerprint, read_answers

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
    answers = answer_rows(ROWS[:3], rest, tmp_path, SETTINGS)
    assert rest.ids == ["clip 2"]
    assert [answer["id"] for answer in answers] == ["clip 0", "clip 1", "clip 2"]


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


SCRIPT = """
import json, sys
from torch import distributed
from pengi_plugin.protocols.answers import answer_rows
distributed.init_process_group("gloo")
rank = distributed.get_rank()
rows = [{"id": str(n)} for n in range(9)]
ask = lambda batch: [{"answer": f"{row['id']} by {rank}"} for row in batch]
answers = answer_rows(rows, ask, sys.argv[1], {}, batch_size=2)
with open(f"{sys.argv[1]}/seen-by-{rank}.json", "w") as file:
    json.dump([answer["answer"] for answer in answers], file)
"""


@pytest.mark.slow
def test_two_processes_share_the_clips_and_both_see_all_answers(tmp_path, root):
    (tmp_path / "script.py").write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launch += ["--nproc_per_node=2", str(tmp_path / "script.py")]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    subprocess.run([*launch, str(tmp_path)], check=True, env=environment, timeout=300)
    seen = [
        json.loads((tmp_path / f"seen-by-{rank}.json").read_text()) for rank in "01"
    ]
    assert seen[0] == seen[1] == [f"{n} by {n % 2}" for n in range(9)]
    written = [(tmp_path / f"answers-{rank}.jsonl").read_text() for rank in "01"]
    assert [text.count("\n") for text in written] == [5, 4]
