"""An app of ours behind a real socket, on a thread of this process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from danlu.adapters.host.serving import bind

from .processes import wait_for

STOP = 10.0  # seconds that a server gets to end


@contextmanager
def served(app: ASGIApp, port: int = 0) -> Iterator[str]:
    """The base URL that `app` answers at while the block runs."""
    sock = bind("127.0.0.1", port)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, timeout_graceful_shutdown=int(STOP)
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([sock],), name="served")
    thread.start()
    try:
        wait_for(lambda: server.started, "the server accepts")
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(STOP * 2)
        sock.close()
