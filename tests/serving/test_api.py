"""Batches of requests: each answer is that of the model, and errors are of one each."""

import json
import queue
import shutil
import tempfile
import time

import numpy as np
import pytest
import soundfile
import torch
from hyperpyyaml import load_hyperpyyaml

pytest.importorskip("litserve")

from pengi_plugin.inference import AudioLanguageModel
from pengi_plugin.serving.api import OUR_FAULT, PengiAPI, WaitingLoop
from pengi_plugin.serving.limits import Limits
from pengi_plugin.serving.requests import Asked


@pytest.fixture(scope="module")
def model(tiny_folder):
    return AudioLanguageModel.from_hparams(tiny_folder, run_opts={"device": "cpu"})


@pytest.fixture(scope="module")
def api(model):
    about = {"model": "f00d", "precision": "fp32", "int8": False}
    api = PengiAPI(lambda: model, about, Limits(max_seconds=2.6), batch_size=4)
    api.setup("cpu")
    return api


def asked(path, **options):
    return Asked(path.read_bytes(), path.name, options)


def responses(api, requests):
    batch = api.predict(api.batch(requests))
    found = [api.encode_response(output) for output in batch]
    return [(answer.status_code, json.loads(answer.body)) for answer in found]


def test_an_answer_is_that_of_generate_file_in_any_batch(api, model, sounds):
    requests = [
        asked(path, prompt=f"what is it, number {n}?", search={"beam_size": 1 + n % 3})
        for n, path in enumerate([*sounds, *sounds])
    ]
    requests.append(asked(sounds[1]))
    together = responses(api, requests)
    for (status, content), request in zip(together, requests, strict=True):
        path = next(path for path in sounds if path.name == request.name)
        prompt = request.options.get("prompt", "generate audio caption")
        search = request.options.get("search", {})
        assert status == 200
        assert content["answer"] == model.generate_file(path, prompt, **search)
        assert (content["prompt"], content["model"]) == (prompt, "f00d")
        assert (content["precision"], content["int8"]) == ("fp32", False)
        ((_, alone),) = responses(api, [request])
        assert alone["answer"] == content["answer"]
        assert alone["score"] == pytest.approx(content["score"], abs=1e-4)
    assert len({content["answer"] for _, content in together}) > 4


def test_windows_alternatives_and_labels_are_given_if_asked_for(api, model, sounds):
    labels = ("dog", "rain")
    requests = [
        asked(sounds[1], prompt="what is it?", window="all"),
        asked(sounds[1], prompt="what is it?", n_best=3),
        asked(sounds[1], prompt="what is it?", labels=labels, method="likelihood"),
    ]
    (_, windows), (_, best), (_, ranked) = responses(api, requests)
    expected = model.generate_file(sounds[1], "what is it?", window="all")
    found = windows["windows"]
    assert [(w["start"], w["end"], w["answer"]) for w in found] == expected
    assert "labels" not in found[0]
    assert "alternatives" not in found[0]
    alternatives = best["windows"][0]["alternatives"]
    expected = model.ranked_file(sounds[1], "what is it?", 5)[1:3]
    assert [a["answer"] for a in alternatives] == [text for text, _ in expected]
    expected = model.classify_file(sounds[1], labels, "what is it?", "likelihood")
    found = [(x["label"], x["score"]) for x in ranked["windows"][0]["labels"]]
    assert [label for label, _ in found] == [label for label, _ in expected]


def test_bad_requests_in_a_batch_harm_no_other(api, sounds, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF, no sound")
    bad = {
        0: (asked(tmp_path / "broken.wav"), 422, "broken.wav cannot be read as audio"),
        2: (asked(sounds[0], window="some"), 422, "window must be one of"),
        3: (asked(sounds[0], search={"top_p": 7.0}), 422, "top_p must be in"),
        5: (asked(sounds[0], prompt="word " * 300), 422, ""),
        6: (asked(sounds[0], labels=("dog",)), 422, "at least two labels"),
    }
    requests = [asked(path, prompt="what is it?") for path in sounds]
    mixed = list(requests)
    for index, (request, *_) in bad.items():
        mixed.insert(index, request)
    found = responses(api, mixed)
    for index, (_, status, message) in bad.items():
        assert found[index][0] == status, found[index]
        assert message in found[index][1]["detail"]
    good = [answer for index, answer in enumerate(found) if index not in bad]
    assert [c["answer"] for _, c in good] == [
        c["answer"] for _, c in responses(api, requests)
    ]


def test_a_recording_that_is_too_long_is_413_and_our_own_fault_500(
    api, model, sounds, tmp_path, monkeypatch
):
    soundfile.write(tmp_path / "long.flac", np.zeros(8000 * 3), 8000)
    ((status, content),) = responses(api, [asked(tmp_path / "long.flac")])
    assert (status, content["detail"][:39]) == (
        413,
        "long.flac lasts longer than the 2.6 s t",
    )

    def fail(*_, **__):
        raise RuntimeError("out of memory at 0x7f")

    monkeypatch.setattr(AudioLanguageModel, "encode_batch", fail)
    assert responses(api, [asked(sounds[0])]) == [(500, {"detail": OUR_FAULT})]


def damaged_files(folder):
    """Return name -> bytes of recordings that cannot be answered, each in its way."""
    wav = (0.1 * np.random.default_rng(0).standard_normal(36_000)).astype("float32")
    files = {
        "no sound.wav": b"RIFF",
        "empty.flac": b"",
        "noise.m4a": b"\0\0\0 ftypM4A ",
    }
    for name, content in (("nan.wav", np.nan), ("none.wav", None)):
        wav[30_000] = 0.0 if content is None else content
        found = wav[:0] if content is None else wav
        soundfile.write(folder / name, found, 8000, "FLOAT")
        files[name] = (folder / name).read_bytes()
    return files


@pytest.mark.parametrize("kind", ["vectors", "sequences"])
@pytest.mark.parametrize("window", ["first", "all"])
def test_no_error_names_a_path_of_the_server(
    root, model, kind, window, tmp_path, monkeypatch
):
    if kind == "sequences":
        torch.manual_seed(0)
        with open(root / "hparams" / "model" / "mini_sequence.yaml") as file:
            hparams = load_hyperpyyaml(file)
        model = AudioLanguageModel(hparams["modules"], hparams)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # read it anew
    api = PengiAPI(lambda: model, {}, Limits(max_seconds=4.9), batch_size=4)
    api.setup("cpu")
    files = damaged_files(tmp_path) | {"far too long.wav": long_file(tmp_path)}
    requests = [
        Asked(content, name, {"window": window}) for name, content in files.items()
    ]
    requests.append(Asked(b"RIFF", "", {}))
    for request, (status, content) in zip(requests, responses(api, requests)):
        if request.name == "nan.wav" and (kind, window) == ("vectors", "first"):
            assert status == 200  # of that window there is nothing wrong
            continue
        assert status in (413, 422), content
        assert str(tmp_path) not in content["detail"]
        assert content["detail"].startswith(request.name or "The audio")


@pytest.mark.parametrize("name", ["temperature", "top_p"])
def test_a_chance_too_small_for_float32_is_refused(api, model, sounds, name):
    ((status, content),) = responses(api, [asked(sounds[0], search={name: 1e-300})])
    assert status == 422
    assert f"{name} must be at least 1e-20" in content["detail"]
    greedy = model.generate_file(sounds[0], "what is it?", beam_size=1)
    request = asked(sounds[0], prompt="what is it?", search={name: 1e-20, "seed": 1})
    ((status, content),) = responses(api, [request])
    assert (status, content["answer"]) == (200, greedy)


def test_a_label_without_a_token_is_named(api, sounds):
    label = "x" * 1900  # one word, longer than the text encoder reads
    request = asked(sounds[0], prompt="what is it?", labels=("dog", label))
    ((status, content),) = responses(api, [request])
    assert status == 422
    assert f"The text {label[:40]!r} cannot be embedded" in content["detail"]


def test_samples_beyond_float32_are_no_sound_and_no_answer_is_no_empty_answer(
    api, sounds, tmp_path, monkeypatch
):
    for size, expected in ((1e11, 200), (1e37, 422)):
        wave = size * np.random.default_rng(0).uniform(-1, 1, 8000)
        soundfile.write(tmp_path / "loud.wav", wave, 8000, "FLOAT")
        ((status, content),) = responses(api, [asked(tmp_path / "loud.wav")])
        assert status == expected, content
    assert "loud.wav has samples that are NaN or infinite, or larger" in str(content)
    module = "pengi_plugin.inference.questions.ranked_after"
    monkeypatch.setattr(module, lambda model, prefix, *_, **__: [[]] * len(prefix))
    assert responses(api, [asked(sounds[0])]) == [(500, {"detail": OUR_FAULT})]


@pytest.mark.parametrize("method", ["similarity", "likelihood"])
def test_a_score_that_json_cannot_hold_harms_no_other_answer(
    api, model, sounds, monkeypatch, method
):
    module = "pengi_plugin.inference.questions.ranked_after"
    monkeypatch.setattr(
        module, lambda model, prefix, *_, **__: [[("a", float("nan"))]] * len(prefix)
    )
    greedy = asked(sounds[0], search={"beam_size": 1})
    assert responses(api, [greedy]) == [(500, {"detail": OUR_FAULT})]
    monkeypatch.undo()

    def rank(model, question, *_):
        return [(label, float("-inf")) for label in question.labels]

    monkeypatch.setattr("pengi_plugin.inference.questions._rank", rank)
    bad = asked(sounds[0], labels=("dog", "rain"), method=method)
    first, second = responses(api, [bad, asked(sounds[0])])
    assert (first[0], second[0]) == (500, 200)


def long_file(folder):
    """Return the bytes of a recording of five seconds."""
    soundfile.write(folder / "long.wav", np.zeros(40_000), 8000)
    return (folder / "long.wav").read_bytes()


def test_the_loop_waits_for_a_batch_and_refuses_who_waited_too_long(api):
    loop, requests = WaitingLoop(), queue.Queue()
    api.request_timeout, api.batch_timeout = 5, 0.2
    now = time.monotonic()
    for number in range(6):
        requests.put((0, number, now - (9 if number == 1 else 0), f"payload {number}"))
    in_time, late = loop.get_batch_requests(api, requests, None)
    assert [uid for _, uid, _ in in_time] == [0, 2, 3]  # of a batch of four
    assert late == [(0, 1)]
    start = time.monotonic()
    in_time, late = loop.get_batch_requests(api, requests, None)
    assert [payload for *_, payload in in_time] == ["payload 4", "payload 5"]
    assert not late
    assert 0.15 < time.monotonic() - start < 3


def test_waiting_for_others_longer_than_for_ones_turn_is_refused(tiny_folder, capsys):
    from pengi_plugin.__main__ import main

    words = ["serve", str(tiny_folder), "--batch-wait", "5", "--max-wait", "5"]
    assert main(words) == 2
    assert "--batch-wait must be at least 0 and less than" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "precision", "is_int8"),
    [
        ([], "fp32", False),
        (["--precision", "bf16"], "bf16", False),
        (["--int8"], "fp32", True),
        (["exported"], "fp32", True),
        (["--precision", "auto"], None, False),
        (["--precision", "auto", "--int8"], "fp32", True),
    ],
)
def test_each_answer_tells_with_which_precision_it_was_made(
    tiny_folder, sounds, tmp_path, monkeypatch, options, precision, is_int8
):
    from pengi_plugin.__main__ import main
    from pengi_plugin.inference.precision import answering_precision
    from pengi_plugin.pretrained.int8 import write_int8
    from pengi_plugin.serving import server

    folder = tiny_folder
    if options == ["exported"]:  # its weights are int8 without being asked for
        folder, options = tmp_path / "int8", []
        shutil.copytree(tiny_folder, folder)
        write_int8(folder)
    served = []
    monkeypatch.setattr(
        server, "make_server", lambda api, info: served.append((api, info))
    )
    monkeypatch.setattr(server, "run_server", lambda *_: None)
    assert main(["serve", str(folder), "--device", "cpu", *options]) == 0
    ((api, info),) = served
    api.setup("cpu")
    ((status, content),) = responses(api, [asked(sounds[0])])
    assert status == 200
    expected = precision or answering_precision("auto", "cpu")
    for told in (content, info):
        assert (told["precision"], told["int8"]) == (expected, is_int8)
    assert content["model"] == info["model"]


def test_a_server_without_litserve_names_the_extra(tiny_folder, monkeypatch, capsys):
    import sys

    from pengi_plugin.__main__ import main

    for name in ("api", "server"):
        monkeypatch.delitem(sys.modules, f"pengi_plugin.serving.{name}", False)
    monkeypatch.setitem(sys.modules, "litserve", None)
    assert main(["serve", str(tiny_folder)]) == 2
    assert "pip install 'pengi-plugin[serve]'" in capsys.readouterr().err
