"""Visitors who are answered together get what each would get alone."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from urllib.request import Request, urlopen

import numpy as np
import pytest
import soundfile

from pengi_plugin.commands import demo
from pengi_plugin.inference import AudioLanguageModel

gradio = pytest.importorskip("gradio")
pytest.importorskip("matplotlib")

from pengi_plugin.demo.page import (  # noqa: E402
    AT_AN_ADDRESS,
    Limits,
    LocalOnly,
    answer_visitor,
    make_page,
)
from pengi_plugin.demo.together import Together  # noqa: E402

FORM = ("captioning", "", "", "nearness to the answer", "the beginning")


@pytest.fixture(scope="module")
def model(tiny_folder):
    return AudioLanguageModel.from_hparams(tiny_folder, run_opts={"device": "cpu"})


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    for number in range(3):
        draw = np.random.default_rng(number)
        soundfile.write(
            folder / f"{number}.wav",
            0.1 * draw.standard_normal(4000 + 4000 * number),
            8000,
        )
    (folder / "broken.wav").write_bytes(b"no sound")
    return folder


def test_a_visitor_with_a_broken_file_harms_no_other(model, sounds, in_threads):
    rows = [
        (str(sounds / "0.wav"), *FORM),
        (str(sounds / "broken.wav"), *FORM),
        (None, *FORM),
        (str(sounds / "1.wav"), "own prompt", "what is it?", *FORM[2:]),
        (str(sounds / "2.wav"), *FORM[:2], "dog, rain", *FORM[3:]),
    ]
    answer = answer_visitor(model, Limits())
    answers, bars, pictures = zip(*in_threads(lambda row: answer(*row), rows))
    for number, prompt in ((0, "generate audio caption"), (3, "what is it?")):
        expected = model.generate_file(rows[number][0], prompt)
        assert f'<div class="pengi-answer">{expected}</div>' in answers[number]
    assert "broken.wav cannot be read as audio" in answers[1]
    assert "Upload or record a sound first" in answers[2]
    assert [bool(shown) for shown in bars] == [False] * 4 + [True]
    assert [picture is None for picture in pictures] == [
        False,
        True,
        True,
        False,
        False,
    ]


@pytest.fixture
def in_threads():
    """Return a function that calls another with each item at the same time."""

    def call(function, items):
        with ThreadPoolExecutor(len(items)) as pool:
            return list(pool.map(function, items))

    return call


def test_who_asks_at_the_same_time_is_answered_in_one_batch(in_threads):
    batches, begun = [], Event()

    def answer(items):
        batches.append(list(items))
        if len(batches) == 1:
            begun.set()
            assert released.wait(60)
        if "all" in items:
            raise ValueError("nobody of this batch")
        return [2 * item for item in items]

    released, ask = Event(), Together(answer, batch_size=3)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(ask, 0)
        assert begun.wait(60)
        others = [pool.submit(ask, n) for n in range(1, 8)]
        while len(ask._waiting) < 7:
            time.sleep(0.001)
        released.set()
        assert [one.result(60) for one in (first, *others)] == list(range(0, 16, 2))
    assert [len(batch) for batch in batches] == [1, 3, 3, 1]
    with pytest.raises(ValueError, match="nobody of this batch"):
        ask("all")
    assert ask(4) == 8  # the next one is answered


@pytest.fixture
def launched(model):
    """Return the address of a page that is served, with an example."""
    page = make_page(model, Limits(batch_size=5))
    page.launch(
        quiet=True, prevent_thread_lock=True, share=False, server_name="127.0.0.1"
    )
    yield page.local_url
    page.close()


def call_api(url, data):
    """Ask the page as a program does; return (event, data)."""
    body = json.dumps({"data": data}).encode()
    kind = {"Content-Type": "application/json"}
    address = f"{url}gradio_api/call/ask"
    with urlopen(Request(address, body, kind), timeout=300) as response:
        name = json.load(response)["event_id"]
    with urlopen(f"{address}/{name}", timeout=300) as response:
        *_, event, found = (
            line.split(": ", 1)[1]
            for line in response.read().decode().splitlines()
            if line
        )
    return event.removeprefix("event: "), json.loads(found.removeprefix("data: "))


def upload(url, path):
    """Upload a file as the page does; return what stands for it."""
    body = b'--cut\r\nContent-Disposition: form-data; name="files"; filename="a.wav"'
    body += b"\r\n\r\n" + path.read_bytes() + b"\r\n--cut--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=cut"}
    with urlopen(Request(f"{url}gradio_api/upload", body, kind)) as response:
        (path,) = json.load(response)
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def test_a_crafted_request_harms_no_other(model, sounds, launched, in_threads):
    sound = upload(launched, sounds / "0.wav")
    good = [sound, *FORM]
    crafted = [
        [sound, "no such task", *FORM[1:]],
        [sound, *FORM[:3], "by ear", FORM[4]],
        [sound, ["captioning"], *FORM[1:]],
        [sound],
        [],
        [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, *FORM],
        [{"path": "http://example.com/a", "meta": {"_type": "gradio.FileData"}}, *FORM],
        [{"no": "file"}, *FORM],
        [sound, "captioning", {"a": [1]}, 7, *FORM[3:]],
    ]
    requests = [good, *crafted, good]
    found = in_threads(lambda data: call_api(launched, data), requests)
    expected = model.generate_file(sounds / "0.wav", "generate audio caption")
    for event, shown in (found[0], found[-1]):
        assert event == "complete", shown
        assert f'<div class="pengi-answer">{expected}</div>' in shown[0]
    assert [found[n][0] for n in (1, 2, 4, 5, 6)] == ["error"] * 5
    assert "Choose a task of the list" in found[3][1][0]
    assert (found[7][0], found[7][1]["error"]) == ("error", AT_AN_ADDRESS)


def test_the_page_is_launched_for_this_machine_alone(tiny_folder, monkeypatch):
    launched = []

    def launch(page, **options):
        launched.append(options)
        return None, "http://127.0.0.1:1/", None

    monkeypatch.setattr(gradio.Blocks, "launch", launch)
    monkeypatch.setattr(gradio.Blocks, "block_thread", lambda page: None)
    monkeypatch.setattr(demo.signal, "signal", lambda *_: None)
    from pengi_plugin.__main__ import main

    words = ["demo", str(tiny_folder), "--no-examples", "--device", "cpu"]
    assert main([*words, "--max-megabytes", "2"]) == 0
    assert main([*words, "--host", "0.0.0.0", "--port", "7000"]) == 0
    first, second = launched
    assert first["server_name"] == "127.0.0.1"
    assert (second["server_name"], second["server_port"]) == ("0.0.0.0", 7000)
    assert first["max_file_size"] == 2_000_000
    assert first["share"] is second["share"] is False


def test_a_page_without_gradio_names_the_extra(tiny_folder, monkeypatch, capsys):
    from pengi_plugin.__main__ import main

    monkeypatch.setitem(__import__("sys").modules, "gradio", None)
    assert main(["demo", str(tiny_folder)]) == 2
    assert "pip install 'pengi-plugin[demo]'" in capsys.readouterr().err


def test_browsers_are_told_to_ask_no_other_host():
    import asyncio

    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message):
        sent.append(message)

    asyncio.run(LocalOnly(app)({}, None, send))
    ((name, policy),) = sent[0]["headers"]
    assert name == b"content-security-policy"
    assert b"default-src 'self'" in policy
    assert b"http" not in policy
    assert sent[1] == {"type": "http.response.body", "body": b""}


def test_an_address_in_place_of_a_file_is_not_fetched(model, sounds, monkeypatch):
    import asyncio

    from gradio import processing_utils
    from gradio.state_holder import SessionState

    async def fetch(url, **_):
        raise AssertionError(f"{url} was fetched")

    monkeypatch.setattr(processing_utils, "async_ssrf_protected_download", fetch)
    shown = [str(sounds / "0.wav"), "captioning", ""]
    page = make_page(model, Limits(), [shown, shown])
    (asked,) = [fn for fn in page.fns.values() if fn.api_name == "ask"]
    (example,) = [fn for fn in page.fns.values() if fn.name == "load_example"]
    changed = SessionState(page)  # of a visitor who has clicked an example
    asyncio.run(page.postprocess_data(example, example.fn((0, shown)), changed))
    assert changed[asked.inputs[0]._id] is not asked.inputs[0]
    for address in ("https://example.com/a.wav", "https://example.com/a.tar::b.wav"):
        sound = {"path": address, "meta": {"_type": "gradio.FileData"}}
        for inputs in ([sound, *FORM], [None, FORM[0], sound, *FORM[2:]]):
            for state in (None, changed):
                with pytest.raises(gradio.Error, match="fetches nothing from an addr"):
                    asyncio.run(page.preprocess_data(asked, inputs, state))
