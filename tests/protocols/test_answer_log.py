"""Answers on disk: interruption, resumption, settings."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pengi_plugin.protocols.answer_log import answer_rows, read_answers

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
    found = read_answers(tmp_path).values()
    assert [answer["id"] for answer in found] == ["clip 0", "clip 1"]
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


def asked_again(folder, rows, settings=SETTINGS):
    """Return the IDs of the rows that were asked about."""
    asked = Asked()
    answers = answer_rows(rows, asked, folder, settings)
    assert [answer["id"] for answer in answers] == [row["id"] for row in rows]
    return asked.ids


@pytest.fixture
def files(tmp_path):
    rows = [
        {"id": n, "wav": str(tmp_path / f"{n}.wav"), "prompt": "what?"} for n in "abc"
    ]
    for row in rows:
        Path(row["wav"]).write_bytes(b"sound")
        os.utime(row["wav"], (1, 1))  # all the same size and time
    return rows


def test_a_changed_file_prompt_path_or_setting_is_asked_again(files, tmp_path):
    log = tmp_path / "log"
    assert asked_again(log, files) == ["a", "b", "c"]
    assert asked_again(log, files) == []
    files[0] = {**files[0], "wav": files[1]["wav"]}
    assert asked_again(log, files) == []  # the same prompt about b was asked
    Path(files[1]["wav"]).write_bytes(b"longer sound")
    os.utime(files[1]["wav"], (1, 1))
    assert asked_again(log, files) == ["a"]  # and serves b
    os.utime(files[2]["wav"], (2, 2))
    assert asked_again(log, files) == ["c"]
    files[0] = {**files[0], "prompt": "why?"}
    assert asked_again(log, files) == ["a"]
    files[0] = {**files[0], "answers": ["yes"]}
    assert asked_again(log, files) == ["a"]
    other = {**SETTINGS, "beam_size": 5}
    assert asked_again(log, files, other) == ["a", "b", "c"]
    assert asked_again(log, files) == asked_again(log, files, other) == []
    settings = json.loads((log / "settings.json").read_text())
    lines = [json.loads(line) for line in (log / "answers-0.jsonl").open()]
    assert settings[lines[-1]["settings"]] == other
    assert settings[lines[0]["settings"]] == SETTINGS


def test_answers_are_those_to_the_row_as_it_is(files, tmp_path):
    def ask(batch):
        return [{"answer": f"{row['prompt']} {len(batch)}"} for row in batch]

    answer_rows(files, ask, tmp_path / "log", SETTINGS)
    files[1]["prompt"] = "why?"
    answers = answer_rows(files, ask, tmp_path / "log", SETTINGS)
    assert [answer["answer"] for answer in answers] == ["what? 3", "why? 1", "what? 3"]


def test_rows_of_one_clip_are_asked_about_together(tmp_path):
    batches = []

    def ask(batch):
        batches.append([row["wav"] for row in batch])
        return [{"answer": row["id"]} for row in batch]

    rows = [
        {"id": f"{kind}{n}", "wav": str(n), "prompt": kind}
        for kind in "abc"
        for n in range(4)
    ]
    answers = answer_rows(rows, ask, tmp_path, {}, batch_size=6)
    assert batches == [[*"000111"], [*"222333"]]
    assert [answer["answer"] for answer in answers] == [row["id"] for row in rows]


def test_rows_that_cannot_be_answered_are_told_and_tried_again(tmp_path):
    bad = {"clip 1", "clip 4"}

    def ask(batch):
        for row in batch:
            if row["id"] in bad:
                raise ValueError(f"{row['id']} is broken")
        return [{"answer": row["id"].upper()} for row in batch]

    answers = answer_rows(ROWS, ask, tmp_path, SETTINGS, batch_size=3)
    errors = {a["id"]: a["error"] for a in answers if "error" in a}
    assert errors == {name: f"ValueError: {name} is broken" for name in bad}
    assert answers[2]["answer"] == "CLIP 2"
    bad.clear()
    again = answer_rows(ROWS, ask, tmp_path, SETTINGS, batch_size=3)
    assert [answer["answer"] for answer in again] == [f"CLIP {n}" for n in range(7)]


def test_a_model_that_can_answer_nothing_is_an_error(tmp_path):
    def ask(batch):
        raise ValueError("no weights")

    with pytest.raises(RuntimeError, match=r"none of 7 rows .* ValueError: no weights"):
        answer_rows(ROWS, ask, tmp_path, SETTINGS)


def test_ids_must_be_unique(tmp_path):
    with pytest.raises(ValueError, match="same ID"):
        answer_rows([ROWS[0], ROWS[0]], Asked(), tmp_path, SETTINGS)


SCRIPT = """
import json, sys
from torch import distributed
from pengi_plugin.protocols.answer_log import answer_rows
distributed.init_process_group("gloo")
rank = distributed.get_rank()
rows = [{"id": str(n)} for n in range(9)]
ask = lambda batch: [{"answer": f"{row['id']} by {rank}"} for row in batch]
answers = answer_rows(rows, ask, sys.argv[1], {}, batch_size=2)
with open(f"{sys.argv[1]}/seen-by-{rank}.json", "w") as file:
    json.dump([answer["answer"] for answer in answers], file)
distributed.destroy_process_group()
"""


def launch(script, folder, root):
    """Run a script in two processes; return what became of it."""
    (folder / "script.py").write_text(script)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node=2", str(folder / "script.py"), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, env=environment, timeout=120, capture_output=True, text=True
    )


@pytest.mark.slow
def test_two_processes_share_the_clips_and_both_see_all_answers(tmp_path, root):
    done = launch(SCRIPT, tmp_path, root)
    assert done.returncode == 0, done.stderr
    seen = [
        json.loads((tmp_path / f"seen-by-{rank}.json").read_text()) for rank in "01"
    ]
    assert seen[0] == seen[1] == [f"{n} by {n % 2}" for n in range(9)]
    written = [(tmp_path / f"answers-{rank}.jsonl").read_text() for rank in "01"]
    assert [text.count("\n") for text in written] == [5, 4]


FAILING = """
import sys
from torch import distributed
from pengi_plugin.protocols.answer_log import answer_rows
distributed.init_process_group("gloo")
rank = distributed.get_rank()

def ask(batch):
    if rank == 1:
        raise OSError("disk is full")
    return [{"answer": ""} for row in batch]

try:
    answer_rows([{"id": str(n)} for n in range(9)], ask, sys.argv[1], {}, batch_size=2)
except (OSError, RuntimeError) as error:
    with open(f"{sys.argv[1]}/error-{rank}", "w") as file:
        file.write(str(error))
distributed.barrier()  # both are here: the next set can be asked about
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_an_error_in_one_process_is_raised_in_the_other_too(tmp_path, root):
    done = launch(FAILING, tmp_path, root)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "error-1").read_text() == "disk is full"
    assert (
        tmp_path / "error-0"
    ).read_text() == "Process 1 failed: OSError: disk is full"


def test_a_clip_of_a_shard_that_was_written_again_is_asked_about_again(tmp_path):
    shard = tmp_path / "clips.tar"
    shard.write_bytes(b"one")
    rows = [{"id": "a", "wav": f"{shard}::000000_a.flac"}]
    assert asked_again(tmp_path, rows) == ["a"]
    assert asked_again(tmp_path, rows) == []
    shard.write_bytes(b"another")
    assert asked_again(tmp_path, rows) == ["a"]
