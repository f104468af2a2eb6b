"""`python -m danlu.controller`: the registry on one port and OpenAI's API on another."""

import asyncio
import logging
import os
import socket
import sys
import time

from ..adapters.host import logs
from ..adapters.host.http import Http
from ..adapters.host.program import run
from ..adapters.host.serving import Listener, Tls, bind, serve, tls_from
from .addresses import BoundAddress
from .api.app import build_api
from .app import build_app
from .dispatch import POLICIES
from .local_backend import LocalBackend
from .registry import Registry
from .settings import ControllerSettings, controller_settings

log = logging.getLogger(__name__)

API_FLAGS = ("--api-host", "--api-port")


def main() -> int:
    """The program; its exit status."""
    return run("danlu-controller", _start)


def _start() -> None:
    """Both ports are taken before anything else: a taken one ends the program at once."""
    settings = controller_settings(sys.argv[1:], os.environ)
    tls = tls_from(settings.ssl, settings.ssl_keyfile, settings.ssl_certfile)
    logs.configure("controller", settings.log_dir)
    sock = bind(settings.host, settings.port)
    api_sock = None if settings.no_api else bind(settings.api_host, settings.api_port, API_FLAGS)
    asyncio.run(_serve(settings, sock, api_sock, tls))


async def _serve(
    settings: ControllerSettings,
    sock: socket.socket,
    api_sock: socket.socket | None,
    tls: Tls | None,
) -> None:
    """One registry, one clock and one HTTP client for both planes, until a stop signal."""
    clock = time.monotonic
    registry = Registry(settings.heart_beat_expiration, POLICIES[settings.dispatch_method])
    api = None if api_sock is None else BoundAddress.of(settings.api_host, api_sock, tls)
    async with Http() as http:
        app = build_app(settings, registry, http, api=api, clock=clock)
        listeners = [Listener(app, sock, tls)]
        if api_sock is not None:
            backend = LocalBackend(registry, clock)
            listeners.append(Listener(build_api(settings.api(), backend, http), api_sock, tls))
        log.info("listening address=%s", BoundAddress.of(settings.host, sock, tls).url)
        log.info("API address=%s", api.url if api else "none")
        await serve(listeners, grace=settings.drain_seconds)


if __name__ == "__main__":
    sys.exit(main())
