"""The model behind the server: a batch of checked requests in, JSON answers out."""

import contextlib
import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import Empty
from typing import Annotated, Any

import litserve
from fastapi import Depends
from fastapi.responses import JSONResponse
from litserve.loops.simple_loops import BatchedLoop

from pengi_plugin.inference.questions import (
    Question,
    Reply,
    TooLongError,
    answer_questions,
    reason_for,
)
from pengi_plugin.serving.limits import Limits
from pengi_plugin.serving.requests import Asked, read_request

logger = logging.getLogger(__name__)

#: What a client is told where the reason is not the client's; the log has the rest.
OUR_FAULT = "The server could not answer; its log says why."


class WaitingLoop(BatchedLoop):
    """Wait for a request, then a moment for others to answer with it.

    LitServe's own loop asks for requests without a pause, which keeps a processor busy
    while there are none.
    """

    def get_batch_requests(self, lit_api, request_queue, transport):
        """Return requests (queue, id, payload), and the ids of those that waited long.

        A request that waited longer than ``request_timeout`` is answered with 504.
        """
        requests = [request_queue.get()]
        deadline = time.monotonic() + lit_api.batch_timeout
        while len(requests) < lit_api.max_batch_size:
            with contextlib.suppress(Empty):
                wait = max(deadline - time.monotonic(), 0)
                requests.append(request_queue.get(wait > 0, wait))
                continue
            break
        in_time, late = [], []
        for queue, uid, since, payload in requests:
            if time.monotonic() - since > lit_api.request_timeout:
                late.append((queue, uid))
            else:
                in_time.append((queue, uid, payload))
        return in_time, late


class PengiAPI(litserve.LitAPI):
    """Answer requests with a model that the worker process loads.

    Arguments
    ---------
    load : callable
        () -> AudioLanguageModel. It is pickled.
    about : dict
        Which model answers, and in which precision; a part of every answer.
    limits : Limits
        Of a request.
    batch_size : int
        Requests, and then windows, that are answered together.
    batch_wait : float
        Seconds that a request waits for others.
    """

    def __init__(
        self,
        load: Callable,
        about: Mapping[str, Any],
        limits: Limits,
        batch_size: int = 8,
        batch_wait: float = 0.01,
    ):
        super().__init__(batch_size, batch_wait, loop=WaitingLoop())
        self.load, self.about, self.limits = load, dict(about), limits
        self.model = None

    def setup(self, device: str) -> None:
        """Load the model; the device is the loader's choice."""
        self.model = self.load()

    def decode_request(self, request: Annotated[Asked, Depends(read_request)]) -> Asked:
        """Return the request, which ``read_request`` has checked."""
        return request

    def batch(self, inputs: list[Asked]) -> list[Asked]:
        """Return the requests of a batch as they are."""
        return inputs

    def predict(self, x: Sequence[Asked]) -> list[tuple[int, dict[str, Any]]]:
        """Return a status and a JSON object for each request of a batch."""
        default = self.model.hparams.default_prompt
        questions, results = {}, {}
        with tempfile.TemporaryDirectory() as folder:
            for index, asked in enumerate(x):
                path = Path(folder) / str(index)
                path.write_bytes(asked.audio)
                options = {"prompt": default, **asked.options}
                try:
                    questions[index] = Question(
                        path=str(path),
                        max_seconds=self.limits.max_seconds,
                        name=asked.name or "The audio",
                        **options,
                    )
                except ValueError as error:
                    results[index] = (422, {"detail": str(error)})
            replies = answer_questions(
                self.model, list(questions.values()), self.max_batch_size
            )
            for (index, question), reply in zip(questions.items(), replies):
                results[index] = self.result(question, reply)
        return [results[index] for index in range(len(x))]

    def result(
        self, question: Question, reply: Reply | Exception
    ) -> tuple[int, dict[str, Any]]:
        """Return the status and the JSON object of a reply or an error."""
        if isinstance(reply, TooLongError):
            return 413, {"detail": reason_for(question, reply)}
        if isinstance(reply, ValueError):
            return 422, {"detail": reason_for(question, reply)}
        if isinstance(reply, Exception):
            logger.error("A request was not answered.", exc_info=reply)
            return 500, {"detail": OUR_FAULT}
        windows = [as_json(window, question.n_best) for window in reply.windows]
        return 200, {
            "answer": windows[0]["answer"],
            "score": windows[0]["score"],
            "prompt": question.prompt,
            "seconds": reply.seconds,
            "windows": windows,
            **self.about,
        }

    def encode_response(self, output: tuple[int, dict[str, Any]]) -> JSONResponse:
        """Return the HTTP response of one request."""
        status, content = output
        return JSONResponse(content, status)


def as_json(window, n_best: int) -> dict[str, Any]:
    """Return a window as JSON; with ``alternatives`` and ``labels`` if asked for."""
    (answer, score), *others = window.answers or [("", None)]
    found = {"start": window.start, "end": window.end, "answer": answer, "score": score}
    if n_best > 1:
        found["alternatives"] = [
            {"answer": text, "score": other} for text, other in others
        ]
    if window.labels:
        found["labels"] = [
            {"label": label, "score": score} for label, score in window.labels
        ]
    return found
