"""An engine on a tiny model of its own, on a device that remembers; one place to ask it from."""

import asyncio
import dataclasses
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

from danlu.adapters.wire.generation import GenerateBody
from danlu.worker.batching_engine import BatchingEngine
from danlu.worker.engine import Engine
from danlu.worker.hosted import Manner
from danlu.worker.job import Job, Piece
from danlu.worker.kv_room import Room
from danlu.worker.outbox import Outbox
from danlu.worker.suitability import fitted
from danlu.worker.thread_engine import ThreadEngine

from .card import loading
from .devices import FakeDevice
from .processes import wait_for
from .tiny import CONTEXT, random_model, tiny_config, tiny_loaded

SOON = 60.0  # seconds
GUESSES = 8  # tokens that are looked up for a step, where they are
SPARE_SLOTS = 2  # beside those of the requests that run
Make = Callable[[Any, FakeDevice, Manner], Engine[Job]]  # of a model, on a device


def ticking() -> Callable[[], float]:
    """A clock by which all that is measured takes one second: what is decided by it, such as which
    guesses pay, is the same on every machine."""
    return partial(next, map(float, count()))


def thread_engine(model: Any, device: FakeDevice, manner: Manner) -> Engine[Job]:
    return ThreadEngine(tiny_loaded(model=model), device, manner)


def batching_engine(
    model: Any, device: FakeDevice, manner: Manner, gathering: float = 0.0
) -> Engine[Job]:
    concurrency = manner.concurrency or 4
    room = Room(concurrency + SPARE_SLOTS, CONTEXT, concurrency)
    loaded = tiny_loaded(model=model)
    fit = loading(lambda: fitted(loaded.model, CONTEXT))
    return BatchingEngine(loaded, device, fit, room, manner, clock=ticking(), gathering=gathering)


def working_ahead(model: Any, device: FakeDevice, manner: Manner) -> Engine[Job]:
    """A batching engine as on a card, which takes a step before it has told of the last one."""
    device.fixed_shapes = device.asynchronous = True
    return batching_engine(model, device, manner)


def replaying(model: Any, device: FakeDevice, manner: Manner) -> Engine[Job]:
    """One that works ahead on a card, and replays recorded steps."""
    device.records = True
    return working_ahead(model, device, manner)


def guessing(model: Any, device: FakeDevice, manner: Manner) -> Engine[Job]:
    """A batching engine that looks ahead."""
    return batching_engine(model, device, dataclasses.replace(manner, lookahead=GUESSES))


def guessing_on_a_card(model: Any, device: FakeDevice, manner: Manner) -> Engine[Job]:
    return working_ahead(model, device, dataclasses.replace(manner, lookahead=GUESSES))


class Stage:
    """Ask with `start`, `answer` or `text`; `held` and `failing` are about the model's steps."""

    def __init__(self, make: Make, device: FakeDevice | None = None, **manner: Any) -> None:
        self.device = device or FakeDevice()
        self.model: Any = random_model(tiny_config())
        self.engine = make(self.model, self.device, Manner(**manner))

    def body(self, **fields: Any) -> GenerateBody:
        facts: dict[str, Any] = {"echo": False, "max_new_tokens": 12, "ignore_eos": True}
        if not {"messages", "prompt_token_ids"} & fields.keys():
            facts["prompt"] = "What is in the box?"
        return GenerateBody(**{**facts, **fields})

    def start(self, **fields: Any) -> Outbox:
        box = Outbox(asyncio.get_running_loop())
        self.engine.submit(self.engine.admit(self.body(**fields)), box)
        return box

    async def answer(self, **fields: Any) -> list[Piece]:
        return [piece async for piece in self.start(**fields)]

    async def text(self, **fields: Any) -> str:
        return "".join(piece.text for piece in await self.answer(**fields))

    @contextmanager
    def held(self) -> Iterator[threading.Event]:
        """No step of the model begins before the event is set; set at the end in any case."""
        go = threading.Event()
        with self._before_steps(lambda: go.wait(SOON)):
            try:
                yield go
            finally:
                go.set()

    @contextmanager
    def failing(self, exc: Exception, *, at: int | None = None) -> Iterator[None]:
        """Every step fails, or only the one of that number from here on."""
        steps = 0

        def fail() -> None:
            nonlocal steps
            steps += 1
            if at is None or steps == at:
                raise exc

        with self._before_steps(fail):
            yield

    @contextmanager
    def _before_steps(self, do: Callable[[], object]) -> Iterator[None]:
        """Whether they are run or replayed."""
        hook = self.model.register_forward_pre_hook(lambda *_: (do(), None)[1])
        replays = self.device.recorded
        if replays is not None:
            replays.before = do
        try:
            yield
        finally:
            hook.remove()
            if replays is not None:
                replays.before = lambda: None

    def idle(self) -> None:
        wait_for(lambda: self.engine.queue_length() == 0, "no job is left", SOON)
