"""The API plane alone, in front of a controller elsewhere: `python -m danlu.controller.api`."""

import asyncio
import logging
import sys

from ...adapters.host import logs, program
from ...adapters.host.http import Http
from ...adapters.host.serving import Listener, bind, serve, tls_from
from .app import build_api
from .remote_backend import RemoteBackend
from .settings import ApiSettings, api_settings

log = logging.getLogger(__name__)


def main() -> None:
    settings = api_settings(sys.argv[1:])
    logs.configure("openai_api_server", settings.log_dir)
    asyncio.run(_serve(settings))


async def _serve(settings: ApiSettings) -> None:
    tls = tls_from(settings.ssl, settings.ssl_keyfile, settings.ssl_certfile)
    sock = bind(settings.host, settings.port)
    async with Http() as http:
        backend = RemoteBackend(http, settings.controller_address)
        listener = Listener(build_api(settings, backend, http), sock, tls)
        log.info("api listening %s controller=%s", listener.port, settings.controller_address)
        await serve([listener])


if __name__ == "__main__":
    sys.exit(program.run("danlu.controller.api", main))
