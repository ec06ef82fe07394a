"""A request becomes a question, or a 4xx that says what is wrong with it."""

import json

import pytest

pytest.importorskip("litserve")

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from pengi_plugin.serving.limits import Limits
from pengi_plugin.serving.requests import read_request

LIMITS = Limits(
    max_bytes=50_000,
    max_labels=3,
    max_letters=40,
    max_label_letters=60,
    max_beam=6,
)


@pytest.fixture(scope="module")
def client():
    app = FastAPI()
    app.state.limits = LIMITS

    @app.post("/predict")
    async def predict(request: Request):
        asked = await read_request(request)
        options = dict(asked.options)
        return JSONResponse([len(asked.audio), asked.name, options])

    return TestClient(app)


def test_a_form_and_json_ask_the_same(client, sounds, in_base64):
    fields = {"prompt": "what?", "n_best": 2, "beam_size": 3, "temperature": 0.5}
    fields |= {"labels": ["dog", "rain, wind"], "window": "all"}
    form = client.post(
        "/predict",
        files={"audio": ("a.wav", sounds[0].read_bytes())},
        data=dict(fields.items()),
    )
    as_json = client.post("/predict", json=fields | {"audio": in_base64(sounds[0])})
    assert form.status_code == as_json.status_code == 200, form.text
    size, name, options = form.json()
    assert (size, name) == (len(sounds[0].read_bytes()), "a.wav")
    assert options == {
        "prompt": "what?",
        "window": "all",
        "labels": ["dog", "rain, wind"],
        "n_best": 2,
        "search": {"beam_size": 3, "temperature": 0.5},
    }
    assert as_json.json() == [size, "", options]


def test_audio_alone_is_enough(client, sounds):
    answer = client.post("/predict", files={"audio": ("a.wav", sounds[0].read_bytes())})
    assert answer.json()[2] == {}


BAD_FIELDS = [
    ({"promt": "what?"}, r"Unknown fields \['promt'\]; known are \['audio', 'prompt'"),
    ({"prompt": ""}, "prompt must be text, not empty"),
    ({"prompt": 3}, "prompt must be text, not empty; got 3"),
    ({"prompt": "a" * 41}, "prompt has 41 letters; at most 40"),
    ({"prompt": "a \ud800"}, "prompt is no Unicode text"),
    ({"labels": ["a" * 30, "b" * 31]}, "labels have 61 letters together; at most 60"),
    ({"labels": "dog"}, "labels must be a list of at most 3 texts"),
    ({"labels": list("abcd")}, "labels must be a list of at most 3 texts"),
    ({"labels": ["a", 3]}, "labels must be text"),
    ({"beam_size": "two"}, r"beam_size must be a number \(int\); got 'two'"),
    ({"beam_size": "2" * 10**6}, r"got .2+\.\.\.2+.\.$"),
    ({"beam_size": True}, "beam_size must be a number"),
    ({"beam_size": 2.5}, "beam_size must be a number"),
    ({"beam_size": 7}, "beam_size must be at most 6; got 7"),
    ({"n_best": 7}, "n_best must be at most 6"),
    ({"max_new_tokens": 201}, "max_new_tokens must be at most 200"),
    ({"seed": 2**70}, "seed must be at most"),
    ({"temperature": [1]}, r"temperature must be a number \(float\)"),
    ({"audio": "no base64!"}, "audio is no base64"),
    ({"audio": 3}, "audio is no base64"),
    ({"audio": ""}, "There is no audio"),
]


@pytest.mark.parametrize(("fields", "message"), BAD_FIELDS)
def test_a_wrong_field_is_named(client, sounds, in_base64, fields, message):
    # Written here: what the client writes cannot hold a lone surrogate.
    body = json.dumps({"audio": in_base64(sounds[0])} | fields)
    kind = {"content-type": "application/json"}
    answer = client.post("/predict", content=body, headers=kind)
    assert answer.status_code == 422
    with pytest.raises(ValueError, match=message):
        raise ValueError(answer.json()["detail"])


@pytest.mark.parametrize(
    ("body", "kind", "status", "message"),
    [
        (b"{bad", "application/json", 400, "no JSON"),
        (b'{"temperature": NaN}', "application/json", 400, "NaN is no number"),
        (b"[" * 100_000, "application/json", 400, "no JSON"),
        (b"\xff\xfe\x00", "application/json", 400, "no JSON"),
        (b"[1]", "application/json", 422, "Send a JSON object"),
        (b"{}", "application/json", 422, "There is no audio"),
        (b"RIFF", "audio/wav", 415, "got the content type 'audio/wav'"),
        (b"RIFF", "", 415, "got the content type 'none'"),
        (b"junk", "multipart/form-data", 400, ""),
        (b"junk", "multipart/form-data; boundary=x", 400, "Invalid multipart"),
    ],
)
def test_what_is_no_request_is_refused(client, body, kind, status, message):
    answer = client.post("/predict", content=body, headers={"content-type": kind})
    assert answer.status_code == status, answer.text
    assert message in json.loads(answer.text)["detail"]


def test_a_form_with_a_field_in_the_wrong_place_is_refused(client, sounds):
    sound = sounds[0].read_bytes()
    text = client.post("/predict", files={"audio": (None, "hello")})
    file = client.post("/predict", files={"audio": sound, "prompt": b"what?"})
    twice = client.post(
        "/predict", files={"audio": sound}, data={"prompt": ["what?", "who?"]}
    )
    assert [a.status_code for a in (text, file, twice)] == [422, 400, 422]
    assert "'audio' is not" in text.json()["detail"]
    assert "Too many files" in file.json()["detail"]
    assert "prompt occurs twice" in twice.json()["detail"]


def test_a_large_file_is_refused_before_it_is_read(client, in_base64, tmp_path):
    path = tmp_path / "large.wav"
    path.write_bytes(bytes(50_001))
    answers = [
        client.post("/predict", files={"audio": path.read_bytes()}),
        client.post("/predict", json={"audio": in_base64(path)}),
        client.post("/predict", files={"audio": bytes(2_000_000)}),
    ]
    for answer in answers:
        assert answer.status_code == 413
        assert "at most 50000 bytes" in answer.json()["detail"]
