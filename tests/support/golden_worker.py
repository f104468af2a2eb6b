"""`python -m support.golden_worker`: danlu's worker with the golden script in place of an engine.

It takes the worker's flags and starts at once, because there is no model to load.
"""

import asyncio
import os
import sys

from danlu.adapters.host import logs, program
from danlu.adapters.host.serving import bind
from danlu.worker.engine import Engine
from danlu.worker.hosting import host
from danlu.worker.loading import Progress
from danlu.worker.settings import WorkerSettings, worker_settings

from .engines import FakeEngine, golden


def main() -> None:
    settings = worker_settings(sys.argv[1:], os.environ)
    logs.configure("worker")
    sock = bind(settings.host, settings.port)
    asyncio.run(host(settings, sock, _load, Progress()))


def _load(settings: WorkerSettings, progress: Progress) -> Engine:
    return FakeEngine(golden, threads=settings.limit_worker_concurrency)


if __name__ == "__main__":
    sys.exit(program.run("golden-worker", main))
