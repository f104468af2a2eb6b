"""A worker on a card, loaded as the program loads it, and what its tests would else repeat."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import torch
from npusim.machine import State, Thread, here
from support.processes import START
from support.workers import MODEL, client_of, frames_in

from danlu.worker.app import build_app
from danlu.worker.engine import AnyEngine
from danlu.worker.loading import Progress, loaded
from danlu.worker.local_engines import load_engine
from danlu.worker.settings import WorkerSettings

T = TypeVar("T")

SOON = START  # beside another busy process nothing is sooner
QUESTION = "What is in the box? A cat is in the box, and two dogs."
STREAM = "/worker_generate_stream"


@dataclass
class Worker:
    """An engine on `card`, and the ledger's records of the threads that came after its start."""

    card: int
    engine: AnyEngine
    settings: WorkerSettings
    machine: State = field(default_factory=here)
    since: int = 0

    def users(self) -> list[Thread]:
        return self.machine.users(self.since)

    def idle(self) -> bool:
        return self.engine.queue_length() == 0

    def settle(self) -> None:
        """Wait until the engine's thread has let go of what it answered before. Answers are read
        while it still holds the last step's tensors; vectors are made when these are gone."""
        self.engine.embed(["a cat"]).result(SOON)

    @asynccontextmanager
    async def client(self) -> Any:
        async with client_of(build_app(self.settings, loaded(self.engine))) as client:
            client.timeout = SOON
            yield client


@contextmanager
def a_worker(model: Path, card: int, **settings: Any) -> Iterator[Worker]:
    """Loads on a thread of its own, as the program does."""
    facts = {"model_path": str(model), "model_names": (MODEL,), "device": f"npu:{card}"}
    wanted = WorkerSettings(**{**facts, "dtype": "float32", **settings})
    since = here().threads
    engine = aside(lambda: load_engine(wanted, Progress()), "loading")
    try:
        yield Worker(card, engine, wanted, since=since)
    finally:
        engine.close()


def aside(work: Callable[[], T], name: str) -> T:
    """The result of `work`, done on a thread called `name`."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as exc:
            future.set_exception(exc)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future.result(SOON)


def bound(card: int, work: Callable[[], T]) -> T:
    """The result of `work`, done on a thread that is bound to `card`."""

    def run() -> T:
        torch.npu.set_device(card)  # type: ignore[attr-defined]
        return work()

    return aside(run, "test")


async def frames(client: httpx.AsyncClient, **body: Any) -> list[dict[str, Any]]:
    """The frames of a stream, to its end; a fixed number of tokens unless `body` says otherwise."""
    asked = {"prompt": QUESTION, "echo": False, "max_new_tokens": 12, "ignore_eos": True, **body}
    answer = await asyncio.wait_for(client.post(STREAM, json=asked), SOON)
    return frames_in(answer.content)


async def together(count: int, ask: Callable[[int], Awaitable[T]]) -> list[T]:
    return list(await asyncio.gather(*(ask(i) for i in range(count))))
