"""Recordings in, rows out, by Ray on this machine: killed, taken up again, refused."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import pytest

from pengi_plugin.annotation.output import read_part
from pengi_plugin.annotation.ray_engine import complete_on_ray
from tests.annotation.counting import output_in, rows_of

ROOT = Path(__file__).resolve().parents[2]
#: Starts Ray on this machine. Where its ports are given, it does not wait for what
#: it starts, which a busy machine may be too slow for.
HEAD = (
    *("ray.scripts.scripts", "start", "--head", "--block", "--num-cpus", 4),
    *("--node-ip-address", "127.0.0.1", "--object-store-memory", 200 << 20),
    *("--include-dashboard", "false", "--no-monitor", "--include-log-monitor", "false"),
)
PORTS = (
    *("--runtime-env-agent-port", "--dashboard-agent-listen-port"),
    *("--dashboard-agent-grpc-port", "--metrics-export-port"),
    "--ray-client-server-port",
)
PROMPTS = ("what is it?", "generate audio caption")


@pytest.fixture(scope="module")
def ray_environment():
    """Return variables for commands on a Ray of these tests; it is gone after them."""
    pytest.importorskip("ray", reason="the extra ray is not installed")
    folder = tempfile.mkdtemp(prefix="ray")  # short, for the names of sockets
    environment = os.environ | {
        "RAY_TMPDIR": folder,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",  # a token would be written to the home folder
        "RAY_memory_monitor_refresh_ms": "0",  # other programs may fill the memory
        "RAY_worker_register_timeout_seconds": "600",  # or keep the CPUs busy
        "RAY_agent_register_timeout_ms": "600000",
        "OMP_NUM_THREADS": "1",
    }
    head, address = start_head(environment)
    try:
        yield environment | {"RAY_ADDRESS": address}
    finally:
        head.terminate()
        head.communicate()
        end_all(folder)
        shutil.rmtree(folder, ignore_errors=True)


def start_head(environment):
    """Start Ray; return the process and Ray's address."""
    for _ in range(3):  # a busy machine may be slower than Ray waits for
        port, *ports = free_ports(6)
        words = (*HEAD, "--port", port, *chain(*zip(PORTS, ports)))
        head = start(environment, *words, err=subprocess.STDOUT)
        for line in head.stdout:
            if "Ray runtime started" in line:
                return head, f"127.0.0.1:{port}"
        head.communicate()
    raise RuntimeError("Ray did not start.")


def end_all(folder):
    """Wait until Ray's processes have ended; fail if they do not."""
    deadline = time.monotonic() + 60
    while alive := processes_of(folder):
        if time.monotonic() > deadline:
            for pid in alive:
                os.kill(pid, signal.SIGKILL)
            pytest.fail(f"Ray's processes {alive} outlived the test")
        time.sleep(0.2)


def free_ports(n):
    """Return ports that nobody listens at."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def processes_of(folder):
    """Return the processes that were started with a folder in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"RAY_TMPDIR={folder}\0".encode() in path.read_bytes() + b"\0":
                found.append(int(path.parent.name))
        except OSError:  # it has ended, or is another user's
            continue
    return found


def start(environment, *words, err=subprocess.PIPE):
    """Start a Python module."""
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, words)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=err,
        text=True,
    )


def finish(process, status=0):
    """Wait for the end of a process; return what it printed."""
    out, err = process.communicate(timeout=1200)
    assert process.returncode == status, err
    return out, err


def all_rows(folder):
    """Return all rows of a folder, in order."""
    return [row for path in sorted(folder.glob("part-*")) for row in read_part(path)]


@pytest.mark.slow
def test_a_killed_driver_goes_on_and_answers_only_what_is_missing(
    tmp_path, ray_environment
):
    words = ("tests.annotation.counting_on_ray", tmp_path, "jsonl", 1)
    checkpoint = tmp_path / "ray" / "checkpoint"
    for n_before in (3,):  # files of the checkpoint when it is killed
        process = start(ray_environment, *words, 0.5, err=subprocess.DEVNULL)
        while len(list(checkpoint.glob("*[0-9].parquet"))) < n_before:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not list(tmp_path.glob("part-*"))
    assert len(list(checkpoint.glob("*[0-9].parquet"))) >= 3
    seen = tmp_path.parent / "asked.txt"
    out, _ = finish(start(ray_environment, *words, 0.0, seen))
    output = output_in(tmp_path)
    rows = all_rows(tmp_path)
    assert rows == list(rows_of(output.paths))
    errors = sum(row["error"] is not None for row in rows)
    # Ray may print of its own before, of a busy machine.
    assert out.splitlines()[-1].split() == ["37", str(len(rows)), str(errors)]
    assert {path.name for path in tmp_path.iterdir()} == {
        *(output.path_of(part).name for part in range(output.n_part)),
        *("settings.json", "recordings.json", ".lock"),
    }
    asked = seen.read_text().split()
    assert 0 < len(asked) == len(set(asked)) <= 37 - 3 * 3


@pytest.mark.slow
@pytest.mark.parametrize(("form", "address"), [("parquet", None), ("jsonl", "local")])
def test_rows_are_those_of_the_local_engine(
    tiny_folder, archive, tmp_path, ray_environment, form, address
):
    """Of good, bad and damaged files, which are named from the folder of the call."""
    (tmp_path / "archive").symlink_to(archive)
    names = [f"archive/{path.name}" for path in sorted(archive.glob("*.wav"))]
    listing = tmp_path / "list.txt"
    listing.write_text("\n".join([*names, "archive/gone.wav"]))
    rest = ("--prompts", *PROMPTS, "--device", "cpu", "--part-size", 3)
    rest += ("--format", form)
    environment = ray_environment | {"PYTHONPATH": str(ROOT)}
    if address:  # a Ray that the command starts, and ends
        environment["RAY_ADDRESS"] = address
    for name, options in (("local", ()), ("ray", ("--engine", "ray"))):
        words = ("annotate", tiny_folder, listing, tmp_path / name, *rest, *options)
        command = [sys.executable, "-m", "pengi_plugin", *map(str, words)]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 1, done.stderr  # some files cannot be read
    rows = all_rows(tmp_path / "ray")
    assert rows == all_rows(tmp_path / "local")
    assert sum(row["error"] is not None for row in rows) == 4
    settings = [tmp_path / name / "settings.json" for name in ("local", "ray")]
    assert settings[0].read_text() == settings[1].read_text()
    command[-1] = "local"  # either engine takes up what the other wrote
    (tmp_path / "ray" / f"part-000001.{form}").unlink()
    assert subprocess.run(command, cwd=tmp_path, env=environment).returncode == 1
    assert all_rows(tmp_path / "ray") == rows
    command[command.index(PROMPTS[0])] = "who?"
    command[-1] = "ray"
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "prompts: ['what is it?'" in done.stderr
    assert all_rows(tmp_path / "ray") == rows


@pytest.mark.slow
def test_what_fails_in_an_actor_is_told_and_leaves_nothing(tmp_path, ray_environment):
    words = ("tests.annotation.counting_on_ray", tmp_path, "jsonl", 1)
    _, err = finish(start(ray_environment, *words, -1.0), status=1)
    assert "RuntimeError: Ray stopped: " in err
    assert "pause must not be negative" in err.splitlines()[-1]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"settings.json", "recordings.json", ".lock"}


def test_what_cannot_be_asked_is_refused(tmp_path, monkeypatch):
    output = output_in(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RuntimeError, match=r"pip install 'pengi-plugin\[ray\]'"):
        complete_on_ray(output, {}, None)
    monkeypatch.undo()
    pytest.importorskip("ray", reason="the extra ray is not installed")
    with pytest.raises(ValueError, match="workers must be at least 1; got 0"):
        complete_on_ray(output, {}, None, n_worker=0)
    output.work_folder.mkdir()
    with pytest.raises(ValueError, match="let it end first without retry_errors"):
        complete_on_ray(output, {}, None, retry_errors=True)
