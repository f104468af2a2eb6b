"""`python -m danlu.worker`: one model on one device, served to a controller."""

import asyncio
import logging
import os
import sys

from ..adapters.host import logs, program
from ..adapters.host.serving import bind
from .checks import checked
from .engines import load_engine
from .hosting import End, Loader, host
from .loading import Progress
from .settings import WorkerSettings, worker_settings
from .showing import Shown

DEVICE_LOST = 74  # the exit status; sysexits.h: an error of input or output


def main(load: Loader = load_engine) -> int:
    """The program; its exit status."""
    return program.run("danlu-worker", lambda: _work(load))


def _work(load: Loader) -> None:
    settings = checked(worker_settings(sys.argv[1:], os.environ))
    level = logging.DEBUG if settings.debug else logging.INFO
    logs.configure("worker", settings.log_dir, level)
    sock = bind(settings.host, settings.port)
    progress = Progress(Shown(_title(settings), sys.stderr if sys.stderr.isatty() else None))
    end = asyncio.run(host(settings, sock, load, progress))
    if end is not End.SERVED:
        program.leave(DEVICE_LOST if end is End.LOST else 0)


def _title(settings: WorkerSettings) -> str:
    return (settings.names or (settings.upstream_url,))[0]


if __name__ == "__main__":
    sys.exit(main())
