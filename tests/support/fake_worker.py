"""`python -m support.fake_worker`: the worker program, whole, around an engine without a model.

Words in a prompt change the answer: PAUSE waits two seconds between pieces, SLOW until its reader
leaves or the engine closes, BOOM is an error, LOST the end of the device. A word in the file `load`
beside the model's config.json changes the loading: `fail` and `break` are errors, foreseen and not,
`lose` is the end of the device, `hang` never ends.
"""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from danlu.adapters.errors import DeviceLost, StartError
from danlu.worker.__main__ import main
from danlu.worker.engine import AnyEngine
from danlu.worker.job import Job
from danlu.worker.loading import Progress
from danlu.worker.settings import WorkerSettings

from .engines import FakeEngine, Step, pieces, text_of

ANSWER = ("All ", "is ", "well.")


def script(job: Job) -> Iterator[Step]:
    text = text_of(job)
    if "BOOM" in text:
        raise RuntimeError("kaboom")
    told = pieces(job, ANSWER)
    yield next(told)
    if "LOST" in text:
        raise DeviceLost("npu:0 is lost; this worker ends, ask another one")
    if "SLOW" in text:
        yield threading.Event()
    if "PAUSE" in text:
        yield _set_in(2.0)
    yield from told


def load(settings: WorkerSettings, progress: Progress) -> AnyEngine:
    told = Path(settings.model_path) / "load"
    word = told.read_text() if told.exists() else ""
    if word == "fail":
        raise StartError(f"{settings.model_path!r} holds no weights; give a complete directory")
    if word == "lose":
        raise DeviceLost("npu:0 is lost; this worker ends, ask another one")
    if word == "break":
        raise RuntimeError("a defect\nof several lines")
    progress.set(0.5, "weights")
    if word == "hang":
        threading.Event().wait()
    return FakeEngine(script, threads=settings.limit_worker_concurrency or 5)


def _set_in(seconds: float) -> threading.Event:
    event = threading.Event()
    threading.Timer(seconds, event.set).start()
    return event


if __name__ == "__main__":
    sys.exit(main(load))
