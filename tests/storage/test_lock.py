import os
import signal
import subprocess
import sys

import pytest

from pengi_plugin.storage.lock import hold_folder, only_writer

HOLD = """
import sys, time
from pengi_plugin.storage.lock import only_writer
with only_writer(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


HOLD_TO_THE_END = """
import os, sys, time
from pengi_plugin.storage.lock import hold_folder
hold_folder(sys.argv[1])
hold_folder(sys.argv[1])
if not os.fork():  # a data loader's worker, which outlives its killed parent
    print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Return a process that holds a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_writer_is_refused_and_told_who_the_first_is(holder, tmp_path):
    with (
        pytest.raises(BlockingIOError, match=f"process {holder.pid} on"),
        only_writer(tmp_path),
    ):
        pytest.fail("held twice")


def test_a_killed_writer_leaves_the_folder_free(holder, tmp_path):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with only_writer(tmp_path):
        pass


def test_a_folder_is_free_again_after_the_block_and_after_an_error(tmp_path):
    with pytest.raises(KeyError, match="x"), only_writer(tmp_path):
        raise KeyError("x")
    with only_writer(tmp_path):
        pass


def test_a_folder_held_to_the_end_is_refused_until_the_process_ends(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD_TO_THE_END, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError, match=f"process {process.pid} on"):
            hold_folder(tmp_path)
        process.kill()
        process.wait()
        hold_folder(tmp_path)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
