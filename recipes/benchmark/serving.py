#!/usr/bin/env python3
"""Latency of ``pengi serve`` on loopback: many clients at once, some with bad uploads.

    python recipes/benchmark/serving.py MODEL [--clients 1 8 32] [--requests 96]

Starts the server, asks it with 1, 8 and 32 clients (each sends its next request when it
has the answer to the last), and compares every answer with ``generate_file``. Every
eighth upload is no audio and must be refused, harming no other. Exit status 1 if a
request was lost or an answer is not the right one.
"""

import argparse
import base64
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import soundfile

from pengi_plugin.commands.model import find_model
from pengi_plugin.inference import AudioLanguageModel

PROMPTS = ("generate audio caption", "this is a sound of", "question: what is heard?")

#: Seconds of the recordings.
LENGTHS = (0.5, 1.0, 2.0, 2.56, 4.0, 7.0)

#: Every so many uploads, one is no audio.
BAD_EVERY = 8

#: Seconds that loading a model and one answer may take.
PATIENCE = 600


class Job(NamedTuple):
    """A request's JSON, and the answer that it must get; None: a refusal."""

    body: bytes
    expected: str | None


class Outcome(NamedTuple):
    """What came back: HTTP status (0: nothing), answer and seconds."""

    status: int
    answer: str | None
    seconds: float


def make_jobs(model: str, n_request: int, folder: Path) -> list[Job]:
    """Return requests about sounds of several lengths, with the answers to them."""
    loaded = AudioLanguageModel.from_hparams(
        source=find_model(model), run_opts={"device": "cpu"}
    )
    paths = []
    for number, seconds in enumerate(LENGTHS):
        rng = np.random.default_rng(number)
        n_sample = int(seconds * 16000)
        wave = 0.3 * np.sin(np.arange(n_sample) * 0.05 * (number + 1))
        paths.append(folder / f"{number}.flac")
        soundfile.write(paths[-1], wave + 0.05 * rng.standard_normal(n_sample), 16000)
    answers, jobs = {}, []
    for number in range(n_request):
        path, prompt = paths[number % len(paths)], PROMPTS[number // 2 % len(PROMPTS)]
        if number % BAD_EVERY == BAD_EVERY - 1:
            jobs.append(Job(body(b"no audio", prompt), None))
            continue
        if (path, prompt) not in answers:
            answers[path, prompt] = loaded.generate_file(path, prompt)
        jobs.append(Job(body(path.read_bytes(), prompt), answers[path, prompt]))
    return jobs


def body(audio: bytes, prompt: str) -> bytes:
    """Return the JSON of a request."""
    fields = {"audio": base64.b64encode(audio).decode(), "prompt": prompt}
    return json.dumps(fields).encode()


def ask(url: str, job: Job) -> Outcome:
    """Send a request and wait for its answer."""
    request = Request(f"{url}/predict", job.body, {"Content-Type": "application/json"})
    start = time.perf_counter()
    try:
        with urlopen(request, timeout=PATIENCE) as response:
            content, status = json.load(response), response.status
    except HTTPError as error:
        content, status = {}, error.code
    except OSError:
        content, status = {}, 0
    return Outcome(status, content.get("answer"), time.perf_counter() - start)


def measure(url: str, jobs: Sequence[Job], n_client: int) -> dict[str, float]:
    """Send all requests with so many clients at once.

    Returns
    -------
    row : dict
        ``p50`` and ``p95`` latency of the good requests in ms, ``per_second``, ``lost``
        (no response, or a 5xx) and ``wrong`` (another answer than the right one, or a
        bad upload that was not refused with 422).
    """
    start = time.perf_counter()
    with ThreadPoolExecutor(n_client) as pool:
        outcomes = list(pool.map(lambda job: ask(url, job), jobs))
    seconds = time.perf_counter() - start
    pairs = list(zip(jobs, outcomes, strict=True))
    lost = sum(outcome.status == 0 or outcome.status >= 500 for outcome in outcomes)
    wrong = sum(
        outcome.status != (422 if job.expected is None else 200)
        or outcome.answer != job.expected
        for job, outcome in pairs
    )
    times = [outcome.seconds for job, outcome in pairs if job.expected is not None]
    cuts = statistics.quantiles(times, n=20, method="inclusive")
    return {
        "clients": n_client,
        "requests": len(jobs),
        "p50": 1000 * statistics.median(times),
        "p95": 1000 * cuts[18],
        "per_second": len(jobs) / seconds,
        "lost": lost,
        "wrong": wrong,
    }


def table(rows: Sequence[dict[str, float]]) -> str:
    """Return the rows as a table; ratios are to the first."""
    lines = [
        "| clients | p50 ms | p95 ms | requests/s | of one client | lost | wrong |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratio = row["per_second"] / rows[0]["per_second"]
        lines.append(
            f"| {row['clients']} | {row['p50']:.0f} | {row['p95']:.0f} "
            f"| {row['per_second']:.1f} | {ratio:.2f} "
            f"| {row['lost']} | {row['wrong']} |"
        )
    return "\n".join(lines)


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Server:
    """``pengi serve`` in a process of its own, ready to answer.

    Arguments
    ---------
    model : str
        Folder, or ``hub:owner/name``.
    *options : str
        Of the command line.
    """

    def __init__(self, model: str, *options: str):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "pengi_plugin", "serve", model]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port), "--device", "cpu", *options],
            env={"OMP_NUM_THREADS": "1"} | os.environ,
        )
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < end:
            try:
                with urlopen(f"{self.url}/health", timeout=10):
                    return
            except OSError:
                time.sleep(0.2)
        self.process.kill()
        raise RuntimeError("pengi serve did not start; it says why above.")

    def __enter__(self) -> "Server":
        return self

    def stop(self) -> int:
        """Tell the server to stop as a service manager does; return its status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return 1 if a request was lost or answered wrongly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder, or hub:owner/name")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--requests", type=int, default=96)
    parser.add_argument("--batch-size", type=int, default=8)
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        jobs = make_jobs(args.model, args.requests, Path(folder))
    with Server(args.model, "--batch-size", str(args.batch_size)) as server:
        measure(server.url, jobs[:8], 1)  # the first requests warm the model up
        rows = [measure(server.url, jobs, n_client) for n_client in args.clients]
    print(table(rows))
    return int(any(row["lost"] or row["wrong"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
