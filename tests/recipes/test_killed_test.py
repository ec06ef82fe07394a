"""A test pass that is killed again and again gives the table of an unbroken one."""

import shutil
import time

import pytest

N_KILL = 4


def forget(folder):
    """Remove what a test pass wrote."""
    shutil.rmtree(folder / "answers", ignore_errors=True)
    for path in folder.glob("test_*"):
        path.unlink()


def n_answer(folder):
    """Return how many answers have been written so far."""
    files = folder.glob("answers/**/*.jsonl")
    return sum(path.read_bytes().count(b"\n") for path in files)


@pytest.mark.slow
def test_a_killed_test_pass_goes_on_and_gives_the_same_table(
    arguments, run_script, tmp_path
):
    folder = tmp_path / "run"
    arguments = arguments(eval_batch_size=1)  # answers come one by one
    first = run_script(arguments)
    output, _ = first.communicate(timeout=300)
    assert first.returncode == 0, output
    expected = (folder / "test_scores.json").read_bytes()
    n_total = n_answer(folder)

    forget(folder)
    seen = [0]
    for _ in range(N_KILL):
        process = run_script(arguments)
        deadline = time.monotonic() + 120
        while n_answer(folder) <= seen[-1] and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
        process.communicate()
        seen.append(n_answer(folder))
    assert 0 < seen[1] < n_total  # killed in the middle
    assert seen == sorted(seen)  # nothing that was answered is lost
    last = run_script(arguments)
    output, _ = last.communicate(timeout=300)
    assert last.returncode == 0, output
    assert n_answer(folder) == n_total  # nothing was answered twice
    assert (folder / "test_scores.json").read_bytes() == expected
