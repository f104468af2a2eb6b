"""The API plane alone, in front of a controller elsewhere: `python -m danlu.controller.api`."""

import asyncio
import logging
import os
import socket
import sys

from ...adapters.host import logs
from ...adapters.host.http import Http
from ...adapters.host.program import run
from ...adapters.host.serving import Listener, Tls, bind, serve, tls_from
from ..addresses import BoundAddress
from .app import build_api
from .remote_backend import RemoteBackend
from .settings import PROG, ApiSettings, api_settings

log = logging.getLogger(__name__)


def main() -> int:
    """The program; its exit status."""
    return run(PROG, _start)


def _start() -> None:
    settings = api_settings(sys.argv[1:], os.environ)
    tls = tls_from(settings.ssl, settings.ssl_keyfile, settings.ssl_certfile)
    logs.configure("openai_api_server", settings.log_dir)
    sock = bind(settings.host, settings.port)
    asyncio.run(_serve(settings, sock, tls))


async def _serve(settings: ApiSettings, sock: socket.socket, tls: Tls | None) -> None:
    """The plane on one HTTP client, until a stop signal."""
    async with Http() as http:
        backend = RemoteBackend(http, settings.controller_address)
        listener = Listener(build_api(settings, backend, http), sock, tls)
        bound = BoundAddress.of(settings.host, sock, tls)
        log.info("listening address=%s controller=%s", bound.url, settings.controller_address)
        await serve([listener], grace=settings.drain_seconds)


if __name__ == "__main__":
    sys.exit(main())
