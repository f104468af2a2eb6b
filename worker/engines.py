"""The engine for a worker's settings: chosen by name, and only the chosen one is imported."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from importlib import import_module

from ..adapters.errors import StartError
from .engine import AnyEngine
from .loading import Progress
from .settings import WorkerSettings

Load = Callable[[WorkerSettings, Progress], AnyEngine]

ENGINES = {  # --engine: the module whose load_engine makes it
    "auto": "local_engines",
    "batching": "local_engines",
    "thread": "local_engines",
    "upstream": "upstream.loading",
    "vllm": "vllm.loading",
}


def load_engine(settings: WorkerSettings, progress: Progress) -> AnyEngine:
    """Takes seconds for the libraries and minutes for a model; raises StartError.

    Call it on a thread that does nothing else: it may be bound to the device.
    """
    progress.set(0.0, "importing libraries")
    return loader(settings.engine)(settings, progress)


def in_a_thread(work: Callable[[], AnyEngine]) -> "Future[AnyEngine]":
    """Load on a thread that ends, and a daemon: a stop must not wait minutes for a model."""
    future: Future[AnyEngine] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as exc:
            future.set_exception(exc)

    threading.Thread(target=run, name="loading", daemon=True).start()
    return future


def loader(name: str) -> Load:
    """What makes the engine of that name, `auto` included."""
    module = ENGINES[name]
    try:
        load: Load = import_module(f".{module}", __package__).load_engine
    except ModuleNotFoundError as exc:
        raise StartError(
            f"{exc.name} is not installed; the worker's packages come with danlu[worker]"
        ) from exc
    return load
