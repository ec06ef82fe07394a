"""A loaded model's description in, a running HTTP server out; it ends when told to."""

import logging
import multiprocessing
import signal
import threading
from typing import Any

import litserve

from pengi_plugin.serving.api import PengiAPI

#: Seconds that requests which are being answered have when the server is stopped.
GRACE = 30

logger = logging.getLogger(__name__)


def make_server(api: PengiAPI, info: dict[str, Any]) -> litserve.LitServer:
    """Return a server with one worker: ``/predict``, ``/health`` and ``/info``.

    Arguments
    ---------
    api : PengiAPI
        What answers.
    info : dict
        About the model, for ``/info``.
    """
    server = litserve.LitServer(
        api,
        accelerator="cpu",  # the model's device is its loader's choice
        devices=1,
        timeout=api.limits.max_wait,
        model_metadata=info,
        max_payload_size=api.limits.max_bytes * 4 // 3 + 1_000_000,
        disable_openapi_url=True,  # its page loads scripts from elsewhere
    )
    server.uvicorn_graceful_timeout = GRACE
    server.app.state.limits = api.limits
    return server


def run_server(server: litserve.LitServer, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM; what is being answered then is still answered.

    Arguments
    ---------
    server : litserve.LitServer
        Of ``make_server``.
    host : str
        127.0.0.1, 0.0.0.0 or ::.
    port : int
        From 1024 to 65535.

    Raises
    ------
    RuntimeError
        If the worker cannot load the model.
    ValueError
        If the host or the port is none of these.
    """
    before = signal.signal(
        signal.SIGTERM,
        lambda *_: threading.Thread(target=stop, args=(server,)).start(),
    )
    try:
        server.run(host=host, port=port, generate_client_file=False)
    finally:
        signal.signal(signal.SIGTERM, before)


def stop(server: litserve.LitServer) -> None:
    """Let the process that speaks HTTP answer what it has, then end the others."""
    for process in multiprocessing.active_children():
        if process.name.startswith("LitServer-"):
            process.terminate()
            process.join(GRACE + 5)
    server._shutdown_event.set()  # what ``LitServer.run`` waits for
