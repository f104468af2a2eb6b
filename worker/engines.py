"""The engine for a worker's settings. What engines stand on is imported when one is asked for."""

from ..adapters.errors import StartError
from .engine import Engine
from .loading import Progress
from .settings import WorkerSettings


def load_engine(settings: WorkerSettings, progress: Progress) -> Engine:
    """Takes seconds for the libraries and minutes for a model; raises StartError.

    Call it on a thread that does nothing else: it is bound to the device.
    """
    progress.set(0.0, "importing libraries")
    try:
        from .local_engines import load_engine
    except ModuleNotFoundError as exc:
        raise StartError(
            f"{exc.name} is not installed; the worker's packages come with danlu[worker]"
        ) from exc
    return load_engine(settings, progress)
