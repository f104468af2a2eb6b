"""Borrows the worker's engine: a model answers in this process, without servers."""

import sys

from ..adapters.devices.static_tls import cure
from ..worker.engine import AnyEngine
from ..worker.engines import in_a_thread, load_engine
from ..worker.loading import Progress
from ..worker.settings import WorkerSettings
from ..worker.showing import Shown


def borrowed(worker: WorkerSettings) -> AnyEngine:
    """The engine of such a worker, for the borrower to close. Imports torch; raises StartError."""
    try:
        return _load(worker)
    except Exception as exc:
        if error := cure(exc):
            raise error from exc
        raise


def _load(worker: WorkerSettings) -> AnyEngine:
    """On a thread of its own, as `load_engine` wants; says on standard error how far it is."""
    progress = Progress(Shown(worker.names[0], sys.stderr if sys.stderr.isatty() else None))
    engine = in_a_thread(lambda: load_engine(worker, progress)).result()
    progress.set(1.0)
    return engine
