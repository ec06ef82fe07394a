"""Visitors who are answered together get what each would get alone."""

import numpy as np
import pytest
import soundfile

from pengi_plugin.commands import demo
from pengi_plugin.inference import AudioLanguageModel

gradio = pytest.importorskip("gradio")
pytest.importorskip("matplotlib")

from pengi_plugin.demo.page import (  # noqa: E402
    Limits,
    LocalOnly,
    answer_visitors,
    make_page,
)

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


def test_a_visitor_with_a_broken_file_harms_no_other(model, sounds):
    rows = [
        (str(sounds / "0.wav"), *FORM),
        (str(sounds / "broken.wav"), *FORM),
        (None, *FORM),
        (str(sounds / "1.wav"), "own prompt", "what is it?", *FORM[2:]),
        (str(sounds / "2.wav"), *FORM[:2], "dog, rain", *FORM[3:]),
    ]
    answer = answer_visitors(model, Limits())
    answers, bars, pictures = answer(*zip(*rows))
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


def test_the_page_batches_visitors_and_neither_shares_nor_reports(model):
    page = make_page(model, Limits(batch_size=5))
    assert not page.analytics_enabled
    (ask,) = (fn for fn in page.fns.values() if fn.api_name == "ask")
    assert ask.batch
    assert (ask.max_batch_size, ask.concurrency_limit) == (5, 1)


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


def test_an_address_in_place_of_a_file_is_not_fetched(model, monkeypatch):
    import asyncio

    from gradio import processing_utils

    async def fetch(url, **_):
        raise AssertionError(f"{url} was fetched")

    monkeypatch.setattr(processing_utils, "async_ssrf_protected_download", fetch)
    page = make_page(model, Limits())
    (asked,) = [fn for fn in page.fns.values() if fn.api_name == "ask"]
    for address in ("https://example.com/a.wav", "https://example.com/a.tar::b.wav"):
        sound = {"path": address, "meta": {"_type": "gradio.FileData"}}
        row = asyncio.run(page.preprocess_data(asked, [sound, *FORM], None))
        assert row[1:] == list(FORM)
        (shown,), *_ = answer_visitors(model, Limits())(*zip(row))
        assert "There is no file at an address: upload it" in shown
