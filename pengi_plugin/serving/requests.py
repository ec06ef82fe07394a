"""HTTP requests in, checked questions out; all that is wrong is a 4xx with its reason.

A request is a form (``multipart/form-data``) with the file ``audio`` and fields, or a
JSON object whose ``audio`` is base64. Runs in the process that speaks HTTP, so what is
refused here never reaches the model.
"""

import base64
import binascii
import json
import reprlib
from typing import Any, NamedTuple

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile

from pengi_plugin.serving.limits import Limits

#: Search options of a request -> their type.
SEARCH = {
    "beam_size": int,
    "max_new_tokens": int,
    "min_new_tokens": int,
    "temperature": float,
    "top_k": int,
    "top_p": float,
    "seed": int,
}

#: Fields beside the search options.
FIELDS = ("audio", "prompt", "labels", "method", "window", "n_best")

FORM, JSON = "multipart/form-data", "application/json"


class Asked(NamedTuple):
    """A request whose form is right: the file's bytes, and ``Question``'s rest."""

    audio: bytes
    name: str
    options: dict[str, Any]


async def read_request(request: Request) -> Asked:
    """Return what a request asks for.

    Raises
    ------
    fastapi.HTTPException
        400 for what is no form or JSON, 413 for a file that is too large, 415 for
        another content type, 422 for a wrong field; ``detail`` says what to do.
    """
    limits: Limits = request.app.state.limits
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    # Base64 has four letters for three bytes.
    most = limits.max_bytes * (4 if kind == JSON else 3) // 3 + 1_000_000
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > most:
        raise too_large(limits)
    if kind == FORM:
        fields = await read_form(request, limits)
    elif kind == JSON:
        fields = await read_json(request, limits)
    else:
        raise HTTPException(
            415, f"Send {FORM} or {JSON}; got the content type {kind or 'none'!r}."
        )
    audio, name = fields.pop("audio", (None, ""))
    if not audio:
        raise HTTPException(422, "There is no audio; send the file in the field audio.")
    if len(audio) > limits.max_bytes:
        raise too_large(limits)
    return Asked(audio, name, checked(fields, limits))


async def read_form(request: Request, limits: Limits) -> dict[str, Any]:
    """Return the fields of a form; texts become what JSON would hold."""
    n_field = limits.max_labels + len(FIELDS) + len(SEARCH)
    async with request.form(max_files=1, max_fields=n_field) as form:
        fields: dict[str, Any] = {}
        for name, value in form.multi_items():
            if isinstance(value, UploadFile) != (name == "audio"):
                raise HTTPException(
                    422, f"Send audio as a file and all else as text; {name!r} is not."
                )
            if name == "audio":
                fields[name] = (await value.read(), value.filename or "")
            elif name == "labels":  # repeated, a label each
                fields.setdefault(name, []).append(value)
            elif name in fields:
                raise HTTPException(422, f"The field {name} occurs twice.")
            else:
                fields[name] = number(name, value)
    return fields


def number(name: str, text: str) -> Any:
    """Return the number that a form's field means, or its text."""
    kind = SEARCH.get(name, int if name == "n_best" else str)
    try:
        return kind(text)
    except ValueError:
        return text  # ``checked`` says what is wrong


async def read_json(request: Request, limits: Limits) -> dict[str, Any]:
    """Return the fields of a JSON object."""
    try:
        fields = json.loads(await request.body(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"The body is no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise HTTPException(422, "Send a JSON object with audio and prompt.")
    if "audio" in fields:
        try:
            audio = base64.b64decode(fields["audio"], validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise HTTPException(422, f"audio is no base64: {error}") from error
        fields["audio"] = (audio, "")
    return fields


def _refuse(constant: str):
    raise ValueError(f"{constant} is no number of JSON")


def checked(fields: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Return the options of a question: known fields of the right type and size.

    Raises
    ------
    fastapi.HTTPException
        422, names the field.

    Example
    -------
    >>> checked({"prompt": "what is it?", "beam_size": 2}, Limits())
    {'prompt': 'what is it?', 'search': {'beam_size': 2}}
    """
    unknown = sorted(set(fields) - {*FIELDS, *SEARCH})
    if unknown:
        raise HTTPException(
            422, f"Unknown fields {unknown}; known are {[*FIELDS, *SEARCH]}."
        )
    options, search = {}, {}
    for name in ("prompt", "method", "window"):
        if name in fields:
            options[name] = text(name, fields[name], limits)
    if "labels" in fields:
        labels = fields["labels"]
        if not isinstance(labels, list) or len(labels) > limits.max_labels:
            raise HTTPException(
                422, f"labels must be a list of at most {limits.max_labels} texts."
            )
        options["labels"] = tuple(text("labels", label, limits) for label in labels)
        n_letter = sum(map(len, labels))
        if n_letter > limits.max_label_letters:
            raise HTTPException(
                422,
                f"labels have {n_letter} letters together; at most "
                f"{limits.max_label_letters}.",
            )
    most = dict.fromkeys(("n_best", "beam_size"), limits.max_beam)
    most |= {name: limits.max_new_tokens for name in SEARCH if name.endswith("tokens")}
    for name in ("n_best", *SEARCH):
        if name not in fields:
            continue
        kind = SEARCH.get(name, int)
        value = fields[name]
        fits = (int,) if kind is int else (int, float)
        if isinstance(value, bool) or not isinstance(value, fits):
            got = reprlib.repr(value)  # a part of what is long
            raise HTTPException(
                422, f"{name} must be a number ({kind.__name__}); got {got}."
            )
        if not abs(value) < 2**62 or value > most.get(name, 2**62):
            raise HTTPException(
                422, f"{name} must be at most {most.get(name, 2**62)}; got {value}."
            )
        (options if name == "n_best" else search)[name] = value
    return {**options, "search": search} if search else options


def text(name: str, value: Any, limits: Limits) -> str:
    """Return a text of bounded length."""
    if not isinstance(value, str) or not value.strip():
        raise HTTPException(422, f"{name} must be text, not empty; got {value!r:.80}.")
    if len(value) > limits.max_letters:
        raise HTTPException(
            422, f"{name} has {len(value)} letters; at most {limits.max_letters}."
        )
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise HTTPException(422, f"{name} is no Unicode text; got {value!r:.80}.")
    return value


def too_large(limits: Limits) -> HTTPException:
    """Return the error of a file that is too large."""
    return HTTPException(
        413,
        f"The audio file is too large: at most {limits.max_bytes} bytes are taken. Cut "
        "it, or send it as FLAC or MP3.",
    )
