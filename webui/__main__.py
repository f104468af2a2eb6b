"""`python -m danlu.webui`: the chat page on port 7860."""

import asyncio
import os
import sys

from ..adapters.host import logs
from ..adapters.host.program import run
from ..adapters.host.serving import Listener, bind, serve
from ..adapters.host.settings import settings_from
from .settings import PREFIX, REFUSED, WebuiSettings, check

GRACE = 5.0  # seconds for open pages: an answer that is cut here can be asked for again


def main() -> int:
    """The program; its exit status."""
    return run("danlu-webui", _start)


def _start() -> None:
    settings = check(
        settings_from(
            WebuiSettings, sys.argv[1:], os.environ, PREFIX, prog="danlu-webui", refused=REFUSED
        )
    )
    logs.configure("gradio_web_server", settings.log_dir)
    sock = bind(settings.host, settings.port)
    _quiet_gradio()
    from .app import build_app  # loads Gradio, which takes seconds: only after the cheap checks

    listener = Listener(build_app(settings), sock)
    print(f"The page is at http://{_reachable(settings.host)}:{listener.port}", flush=True)
    asyncio.run(serve([listener], grace=GRACE))


def _quiet_gradio() -> None:
    """Gradio reads the environment while it is imported: nothing of it leaves this machine.

    It also opens clients at once, and those fail to open under a proxy of a kind that httpx cannot
    use; the page calls only its own controller, directly.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        os.environ.pop(name, None)
        os.environ.pop(name.lower(), None)


def _reachable(host: str) -> str:
    """Where a browser on this machine finds a server on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(host, host)


if __name__ == "__main__":
    sys.exit(main())
