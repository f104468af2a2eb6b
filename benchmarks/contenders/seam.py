"""Our engine through the worker's own seam, without HTTP: `admit` and `submit`, boxes that note."""

import threading
import time
from dataclasses import fields

import torch

from danlu.adapters.errors import ServeError, StartError
from danlu.adapters.wire.generation import GenerateBody
from danlu.worker.checks import checked
from danlu.worker.engine import AnyEngine
from danlu.worker.engines import in_a_thread, load_engine
from danlu.worker.job import Piece
from danlu.worker.loading import Progress
from danlu.worker.settings import WorkerSettings, worker_settings

from ..contest import Outcome, Prompt, Task
from ..lines import Missing, resident, serve
from .options import Options, options, unfix_threads


class NotingBox:
    """Notes when pieces come. `put` and `close` are for the engine's thread."""

    def __init__(self, begun: float) -> None:
        self.abandoned = False
        self.times: list[float] = []
        self.tokens = 0
        self.error: ServeError | None = None
        self.closed = threading.Event()
        self._begun = begun

    def put(self, piece: Piece) -> None:
        self.times.append(time.perf_counter() - self._begun)
        self.tokens = piece.usage.completion_tokens

    def close(self, error: ServeError | None = None) -> None:
        self.error = error
        self.closed.set()


class Seam:
    """One engine, loaded as the worker loads it."""

    def __init__(self, engine: AnyEngine) -> None:
        self._engine = engine

    def run(self, task: Task) -> Outcome:
        begun = time.perf_counter()
        boxes = []
        for prompt in task.prompts:
            boxes.append(box := NotingBox(begun))
            self._engine.submit(self._engine.admit(body(prompt, task.new_tokens)), box)
        for box in boxes:
            box.closed.wait()
        seconds = time.perf_counter() - begun
        for box in boxes:
            if box.error is not None:
                raise box.error
        return Outcome([box.times for box in boxes], sum(box.tokens for box in boxes), seconds)

    def peak(self) -> int:
        return resident()

    def close(self) -> None:
        self._engine.close()


def body(prompt: Prompt, new_tokens: int) -> GenerateBody:
    return GenerateBody(
        prompt_token_ids=list(prompt.ids),
        max_new_tokens=new_tokens,
        temperature=0.0,
        ignore_eos=True,
        echo=False,
    )


def engine_for(asked: Options) -> AnyEngine:
    """The engine that the worker would load for these flags; raises Missing if it would not.

    As in a worker it is loaded on a thread that ends: where OpenMP has more threads than there are
    cores, they fall asleep between two products, and waking them takes as long as many a product.
    """
    unfix_threads(asked)
    torch.set_num_threads(asked.threads)
    try:
        settings = checked(worker_settings(worker_flags(asked), {}))
        return in_a_thread(lambda: load_engine(settings, Progress())).result()
    except StartError as exc:
        raise Missing(str(exc)) from exc


def engine_flags(name: str) -> tuple[str, ...]:
    """The worker's flags for its engine of that name; one that knows no engines has one to a
    thread."""
    known = any(field.name == "engine" for field in fields(WorkerSettings))
    return ("--engine", name) if known or name != "thread" else ()


def worker_flags(asked: Options) -> list[str]:
    """The worker's flags for a contest."""
    where = ["--model-path", str(asked.model), "--device", "cpu", "--dtype", asked.dtype]
    most = ["--limit-worker-concurrency", str(asked.streams)]
    return [*where, *most, *asked.more]


if __name__ == "__main__":
    serve(lambda: Seam(engine_for(options())))
