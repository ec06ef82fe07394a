"""A real server process on a free port: limits, many clients, a quiet end."""

import http.client
import importlib
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.request import Request, urlopen

import pytest

from pengi_plugin.inference import AudioLanguageModel

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def serving(root):
    pytest.importorskip("litserve")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "recipes" / "benchmark")
        yield importlib.import_module("serving")


@pytest.fixture(scope="module")
def server(serving, tiny_folder):
    limits = ("--max-megabytes", "0.1", "--max-seconds", "5")
    with serving.Server(str(tiny_folder), *limits) as server:
        yield server


@pytest.fixture(scope="module")
def model(tiny_folder):
    return AudioLanguageModel.from_hparams(tiny_folder, run_opts={"device": "cpu"})


def post(server, body, headers):
    """Return status and JSON of a response."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    connection.request("POST", "/predict", body, headers)
    response = connection.getresponse()
    content = json.loads(response.read())
    connection.close()
    return response.status, content


JSON = {"Content-Type": "application/json"}


def test_it_says_when_it_is_ready_and_what_it_serves(server):
    with urlopen(f"{server.url}/health") as response:
        assert (response.status, response.read()) == (200, b"ok")
    with urlopen(f"{server.url}/info") as response:
        info = json.load(response)["model"]
    assert (info["sample_rate"], info["clip_seconds"]) == (8000, 1.0)
    assert (info["precision"], info["int8"]) == ("fp32", False)
    assert info["limits"]["max_seconds"] == 5


def test_a_form_is_answered_as_generate_file_answers(server, model, sounds):
    lines = []
    fields = {"prompt": b"what is it?", "n_best": b"2"}
    for name, value in fields.items():
        head = f'--cut\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        lines.append(head.encode() + value)
    head = (
        b'--cut\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n'
    )
    lines.append(head + b"\r\n" + sounds[1].read_bytes())
    body = b"\r\n".join([*lines, b"--cut--\r\n"])
    kind = {"Content-Type": "multipart/form-data; boundary=cut"}
    status, content = post(server, body, kind)
    assert status == 200, content
    assert content["answer"] == model.generate_file(sounds[1], "what is it?")
    assert len(content["windows"][0]["alternatives"]) == 1
    assert len(content["model"]) == 16


def test_what_is_refused_is_a_4xx_with_a_reason(server, serving, sounds, in_base64):
    good = {"audio": in_base64(sounds[0])}
    refused = [
        (b"{", 400, "no JSON"),
        (serving.body(b"no audio", "?"), 422, "cannot be read as audio"),
        (json.dumps(good | {"beam_size": 1000}).encode(), 422, "at most 20"),
        (json.dumps(good | {"top_k": 2, "beam_size": 2}).encode(), 422, "No search"),
        (serving.body(bytes(100_001), "?"), 413, "at most 100000 bytes"),
        (serving.body(bytes(2_000_000), "?"), 413, "at most 100000 bytes"),
    ]
    for body, expected, reason in refused:
        status, content = post(server, body, JSON)
        assert status == expected, content
        assert reason in content["detail"]
    assert post(server, json.dumps(good).encode(), JSON)[0] == 200


def test_a_large_upload_without_a_declared_length_is_refused(server):
    parts = (bytes(65536) for _ in range(60))
    try:
        status, _ = post(server, parts, JSON)  # sent in chunks, as it is an iterator
    except ConnectionError:  # closed while the rest was still being sent
        status = 413
    assert status == 413
    with urlopen(f"{server.url}/health") as response:
        assert response.read() == b"ok"


def test_requests_that_are_being_answered_are_answered_when_it_is_told_to_stop(
    serving, tiny_folder, model, sounds, in_base64
):
    server = serving.Server(str(tiny_folder), "--batch-size", "1")
    fields = {"audio": in_base64(sounds[1]), "prompt": "what is it?", "window": "all"}
    body = json.dumps(fields).encode()
    with ThreadPoolExecutor(6) as pool:
        waiting = [pool.submit(post, server, body, JSON) for _ in range(6)]
        time.sleep(0.05)
        while not any(one.done() for one in waiting):
            time.sleep(0.01)
        begun = sum(not one.done() for one in waiting)
        assert server.stop() == 0
        answers = [one.result() for one in waiting]
    assert begun >= 1  # else nothing was being answered
    expected = model.generate_file(sounds[1], "what is it?", window="all")
    for status, content in answers:
        assert status == 200, content
        assert [w["answer"] for w in content["windows"]] == [a for *_, a in expected]
    with pytest.raises(OSError):  # noqa: PT011  # of any kind: nothing listens
        urlopen(f"{server.url}/health", timeout=5)


def test_a_request_that_waited_too_long_is_answered_504(
    serving, tiny_folder, in_base64, sounds
):
    options = ("--batch-wait", "0", "--max-wait", "0.000001")
    with serving.Server(str(tiny_folder), *options) as server:
        body = json.dumps({"audio": in_base64(sounds[0])}).encode()
        status, content = post(server, body, JSON)
    assert (status, content) == (504, {"detail": "Request timed out"})


def test_many_clients_with_bad_uploads_among_them_lose_nothing(
    serving, tiny_folder, capsys
):
    words = [str(tiny_folder), "--clients", "1", "8", "32", "--requests", "64"]
    status = serving.main(words)
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("| ")
    ][1:]
    assert status == 0, rows
    assert [row[0] for row in rows] == ["1", "8", "32"]
    assert all(float(row[1]) <= float(row[2]) for row in rows)
    assert [row[-2:] for row in rows] == [["0", "0"]] * 3


def test_a_wrong_or_lost_answer_is_counted(serving, server, sounds):
    right = serving.body(sounds[0].read_bytes(), "what is it?")
    jobs = [
        serving.Job(right, "another answer"),
        serving.Job(right, None),  # should have been refused
        serving.Job(serving.body(b"no audio", "?"), None),
    ]
    row = serving.measure(server.url, jobs * 2, 2)
    assert (row["lost"], row["wrong"]) == (0, 4)
    row = serving.measure("http://127.0.0.1:9", jobs * 2, 2)
    assert (row["lost"], row["wrong"]) == (6, 6)


def test_a_folder_that_cannot_be_loaded_is_an_error_and_nothing_stays(tmp_path, root):
    done = subprocess.run(
        [sys.executable, "-m", "pengi_plugin", "serve", str(tmp_path / "none")],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 2
    assert "There is no folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_request_of_the_documentation_is_answered(server, sounds, in_base64):
    request = Request(
        f"{server.url}/predict",
        json.dumps({"audio": in_base64(sounds[0]), "labels": ["a", "b"]}).encode(),
        JSON,
    )
    with urlopen(request) as response:
        window = json.load(response)["windows"][0]
    assert {entry["label"] for entry in window["labels"]} == {"a", "b"}
