"""Whatever is killed, and when: the same call ends with every part once, whole."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pengi_plugin.annotation.output import Output, read_part, write_part
from pengi_plugin.annotation.run import complete, complete_by
from pengi_plugin.storage.lock import only_writer
from tests.annotation.counting import SlowWork, output_in, rows_of

ROOT = Path(__file__).resolve().parents[2]


def start(folder, form, n_worker, pause=0.002):
    """Start the slow work in a process of its own."""
    words = [sys.executable, "-m", "tests.annotation.counting"]
    return subprocess.Popen(
        [*words, *map(str, (folder, form, n_worker, pause))],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(condition, process, seconds=120):
    """Wait for a condition while a process runs."""
    deadline = time.monotonic() + seconds
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.0005)


def kill_at_random(folder, form, n_worker, draw):
    """Start a run, kill it somewhere in its work; tell whether it was still alive."""
    before = set(folder.glob("*"))
    process = start(folder, form, n_worker)
    wait_until(lambda: set(folder.glob("*")) - before, process)
    time.sleep(draw.random() * draw.choice((0.0, 0.01, 0.05)))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize("n_worker", [1, 2])
@pytest.mark.parametrize(
    "n_kill", [4, pytest.param(60, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_after_random_kills_the_same_call_ends_with_all_rows_once(
    tmp_path, form, n_worker, n_kill
):
    draw, folder, n_killed = random.Random(n_worker), tmp_path / "0", 0
    for n in range(n_kill):
        killed = kill_at_random(folder, form, n_worker, draw)
        n_killed += killed
        if not killed:  # it had ended: the next kills are of another run
            check_all(folder, form)
            folder = tmp_path / str(n + 1)
    assert n_killed > n_kill // 2
    process = start(folder, form, n_worker)
    out, err = process.communicate()
    assert process.returncode == 0, err
    rows = check_all(folder, form)
    errors = sum(row["error"] is not None for row in rows)
    assert out.split() == ["37", str(len(rows)), str(errors)]
    assert errors > 0


def check_all(folder, form):
    """Check the parts of a folder against rows computed here; return the rows."""
    output = output_in(folder, form)
    names = {output.path_of(part).name for part in range(output.n_part)}
    present = {path.name for path in folder.iterdir()}
    assert present == names | {"settings.json", "recordings.json", ".lock"}
    rows = [row for name in sorted(names) for row in read_part(folder / name)]
    assert rows == list(rows_of(output.paths))
    return rows


def test_workers_end_with_their_parent_and_write_nothing_more(tmp_path):
    process = start(tmp_path, "jsonl", 2, pause=0.5)
    wait_until(lambda: len(list(tmp_path.glob(".part-*"))) == 2, process)
    # Named by the workers' process numbers: .part-000000.jsonl.PID.unfinished
    workers = [int(p.name.split(".")[-2]) for p in tmp_path.glob(".part-*")]
    assert process.pid not in workers
    assert all(map(is_alive, workers))
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while any(map(is_alive, workers)):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.01)
    assert not list(tmp_path.glob("part-*"))


def is_alive(pid):
    """Tell whether a process runs; one that only waits to be collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_a_worker_that_is_killed_ends_the_run_with_a_reason(tmp_path):
    process = start(tmp_path, "jsonl", 2, pause=0.5)
    wait_until(lambda: len(list(tmp_path.glob(".part-*"))) == 2, process)
    (name, *_) = tmp_path.glob(".part-*")
    os.kill(int(name.name.split(".")[-2]), signal.SIGKILL)
    _, err = process.communicate()
    assert process.returncode == 1
    assert "A worker process ended with the code -9" in err


def no_work(number):
    """Stand for work that nobody may ask for."""
    pytest.fail("work was asked for")


def test_what_is_done_is_not_done_again(tmp_path):
    output = output_in(tmp_path)
    first = complete(output, {"a": 1}, SlowWork(output, 0.0))
    for n_worker in (1, 2):
        assert complete(output, {"a": 1}, no_work, n_worker) == first


def test_a_part_in_which_the_work_failed_is_not_there(tmp_path):
    output = output_in(tmp_path)

    def failing(number):
        work = SlowWork(output, 0.0)(number)

        def fail(part, on_recording):
            if part == 2:
                return write_rows_and_fail(output.path_of(part))
            return work(part, on_recording)

        return fail

    with pytest.raises(RuntimeError, match="no memory"):
        complete(output, {}, failing)
    assert output.pending() == list(range(2, 13))
    assert not list(tmp_path.glob(".part*"))
    complete(output, {}, SlowWork(output, 0.0))
    check_all(tmp_path, "jsonl")


def write_rows_and_fail(path):
    """Write two rows of a part, then fail."""

    def rows():
        yield from list(rows_of(["107"]))
        raise RuntimeError("no memory")

    write_part(path, rows())


@pytest.mark.parametrize(
    ("settings", "options", "named"),
    [
        ({"a": 2, "b": 0}, {}, "a: 1 then, 2 now"),
        ({"a": 1}, {}, "b: 0 then, None now"),
        ({"a": 1, "b": 0}, {"part_size": 2}, "part_size: 3 then, 2 now"),
        ({"a": 1, "b": 0}, {"paths": ("1", "2")}, "recordings: 37 then, 2 now"),
        ({"a": 1, "b": 0}, {"reverse": True}, "list: "),
    ],
)
def test_other_settings_are_refused_and_named(tmp_path, settings, options, named):
    output = output_in(tmp_path)
    complete(output, {"a": 1, "b": 0}, SlowWork(output, 0.0))
    paths = options.get("paths", output.paths)
    paths = paths[::-1] if "reverse" in options else paths
    other = Output(str(tmp_path), paths, "jsonl", options.get("part_size", 3))
    with pytest.raises(ValueError, match=f"answers of other settings .*{named}"):
        complete(other, settings, no_work)
    check_all(tmp_path, "jsonl")


def test_a_folder_without_a_part_takes_other_settings(tmp_path):
    def wrong(number):
        raise ValueError("a must be 2")

    output = output_in(tmp_path)
    with pytest.raises(ValueError, match="a must be 2"):
        complete(output, {"a": 1}, wrong)
    complete(output, {"a": 2}, SlowWork(output, 0.0))
    with pytest.raises(ValueError, match="a: 2 then, 1 now"):
        complete(output, {"a": 1}, no_work)


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match=r"holds thesis\.txt and no settings"):
        complete(output_in(tmp_path), {}, no_work)


def test_a_folder_that_a_living_process_writes_is_refused(tmp_path):
    with (
        only_writer(tmp_path),
        pytest.raises(BlockingIOError, match=f"written by process {os.getpid()}"),
    ):
        complete(output_in(tmp_path), {}, no_work)


def test_parts_whose_recordings_change_are_written_again_also_after_a_kill(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # the recordings are 37 names here
    folder = tmp_path / "out"
    output = output_in(folder)
    for path in output.paths:
        (tmp_path / path).write_text("sound")
    complete(output, {}, SlowWork(output, 0.0))

    def killed(number):
        raise KeyboardInterrupt

    (tmp_path / output.paths[7]).write_text("another sound")
    with pytest.raises(KeyboardInterrupt):
        complete(output, {}, killed)
    assert output.pending() == [2]
    (tmp_path / output.paths[7]).write_text("and now it is another one")
    (tmp_path / output.paths[0]).write_text("here too")
    with pytest.raises(KeyboardInterrupt):
        complete(output, {}, killed)
    assert output.pending() == [0, 2]
    complete(output, {}, SlowWork(output, 0.0))
    complete(output, {}, no_work)
    check_all(folder, "jsonl")


def test_answers_of_an_engine_about_recordings_that_changed_are_refused(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    output = output_in(tmp_path / "out")
    with pytest.raises(ValueError, match="stopped"):
        complete_by(lambda pending: stop_within(output), output, {})
    (tmp_path / output.paths[7]).write_text("now it is there")
    with pytest.raises(
        ValueError, match=r"Recordings of part 2 have changed since .*ray"
    ):
        complete_by(lambda pending: None, output, {})
    shutil.rmtree(output.work_folder)
    complete(output, {}, SlowWork(output, 0.0))
    check_all(tmp_path / "out", "jsonl")


def test_kept_answers_do_not_become_a_written_part_whose_recording_has_changed(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    output = output_in(tmp_path / "out")

    def killed_behind_the_first_part(pending):
        write_part(output.path_of(0), rows_of(output.recordings_of(0)))
        stop_within(output)

    with pytest.raises(ValueError, match="stopped"):
        complete_by(killed_behind_the_first_part, output, {})
    before = output.path_of(0).read_bytes()
    (tmp_path / output.paths[0]).write_text("now it is there")
    with pytest.raises(ValueError, match=r"Recordings of part 0 have changed since"):
        complete_by(lambda pending: None, output, {})
    assert output.path_of(0).read_bytes() == before


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_answers_about_recordings_that_vanish_are_not_thrown_away(
    tmp_path, monkeypatch, form
):
    monkeypatch.chdir(tmp_path)
    paths = ("1", "2")
    for path in paths:
        (tmp_path / path).write_text("sound")
    output = Output(str(tmp_path / "out"), paths, form, part_size=1)
    complete(output, {}, SlowWork(output, 0.0))
    files = {path: path.read_bytes() for path in (tmp_path / "out").glob("part-*")}
    (tmp_path / "1").write_text("another sound")
    (tmp_path / "2").unlink()
    for _ in range(2):
        with pytest.raises(FileNotFoundError, match="2 was answered and is not there"):
            complete(output, {}, SlowWork(output, 0.0))
        assert {path: path.read_bytes() for path in files} == files
    (tmp_path / "2").write_text("sound, again")
    complete(output, {}, SlowWork(output, 0.0))
    complete(output, {}, no_work)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_changed_recording_whose_name_is_no_utf8_is_answered_again(tmp_path, form):
    path = tmp_path / "\udcffé.wav"
    path.write_text("sound")
    output = Output(str(tmp_path / "out"), (str(path),), form)

    def write(pending):
        for part in pending:
            write_part(output.path_of(part), [{"path": str(path), "error": None}])

    complete_by(write, output, {})
    path.write_text("another sound")
    complete_by(write, output, {})
    assert output.pending() == []
    path.unlink()
    with pytest.raises(FileNotFoundError, match="is not there any more"):
        complete_by(write, output, {})


def stop_within(output):
    """Keep answers, as an engine does, and stop."""
    output.work_folder.mkdir()
    (output.work_folder / "answers.parquet").write_text("answers")
    raise ValueError("stopped")


def test_only_parts_with_errors_are_done_again_when_asked(tmp_path):
    output = output_in(tmp_path)
    complete(output, {}, SlowWork(output, 0.0))
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("part-*")}
    has_error = {path for path in times if any(row["error"] for row in read_part(path))}
    assert 0 < len(has_error) < len(times)
    complete(output, {}, SlowWork(output, 0.0), retry_errors=True)
    again = {path for path, then in times.items() if path.stat().st_mtime_ns != then}
    assert again == has_error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"paths": ()}, "There are no recordings"),
        ({"paths": ("a", "a")}, "A recording is listed twice"),
        ({"form": "xml"}, "format must be one of .* got 'xml'"),
        ({"part_size": 0}, "part_size must be at least 1; got 0"),
    ],
)
def test_what_cannot_be_asked_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Output(**{"folder": "out", "paths": ("a",), **options})


def test_a_name_that_is_no_utf8_is_written_and_read(tmp_path):
    row = {"path": "\udcffé.wav", "error": None}
    write_part(tmp_path / "part.jsonl", [row])
    assert list(read_part(tmp_path / "part.jsonl")) == [row]
    assert "é" in (tmp_path / "part.jsonl").read_text(encoding="utf-8")
