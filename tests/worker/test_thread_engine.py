"""What is special to threads: one may hang in the driver, and the others go on."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from support.devices import FakeDevice
from support.processes import wait_for
from support.stage import SOON, Stage, thread_engine
from support.tiny import tiny_loaded

from danlu.adapters.errors import BadRequest, DeviceLost, ServeError
from danlu.adapters.wire.generation import GenerateBody
from danlu.worker.hosted import Manner
from danlu.worker.outbox import Outbox
from danlu.worker.thread_engine import ThreadEngine

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage(thread_engine, concurrency=2)
    yield stage
    stage.engine.close()


async def test_a_lost_device_ends_vectors_too(stage: Stage) -> None:
    """Also those whose thread hangs in the driver, and those that wait for a thread."""
    go, hanging = threading.Event(), threading.Event()

    def fail(*_: object) -> None:
        if not hanging.is_set():
            hanging.set()
            go.wait(SOON)
        raise RuntimeError("error code is 507899")

    stage.model.base_model.register_forward_pre_hook(fail)
    texts = [stage.engine.embed(["a cat"]) for _ in range(3)]
    for one in texts:
        with pytest.raises(DeviceLost):
            await asyncio.wait_for(asyncio.wrap_future(one), SOON / 2)
    assert stage.engine.queue_length() == 0
    go.set()


async def test_a_lost_device_ends_an_answer_whose_thread_hangs_in_it(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    inside, go = threading.Event(), threading.Event()

    def step(*_: object) -> None:
        if inside.is_set():
            raise RuntimeError("error code is 507899")
        inside.set()
        go.wait(SOON)

    hook = stage.model.register_forward_pre_hook(step)
    try:
        hanging = stage.start()
        wait_for(inside.is_set, "it runs", SOON)
        for box in (stage.start(), hanging):
            with pytest.raises(DeviceLost):
                [piece async for piece in box]
    finally:
        go.set()
        hook.remove()
    stage.idle()
    assert "request failed" not in caplog.text


async def test_a_device_that_cannot_be_bound_is_an_error_for_every_job() -> None:
    engine = ThreadEngine(tiny_loaded(), FakeDevice(broken=True), Manner(concurrency=1))
    for _ in range(2):
        box = Outbox(asyncio.get_running_loop())
        engine.submit(engine.admit(GenerateBody(prompt="a cat")), box)
        with pytest.raises(ServeError):
            [piece async for piece in box]
    assert engine.queue_length() == 0
    engine.close()


async def test_threads_take_requests_as_they_come_and_say_so(stage: Stage) -> None:
    assert "priority" not in stage.engine.card.parameters
    with pytest.raises(BadRequest, match="'priority' is not supported"):
        stage.start(priority=-1)
