"""What is known of a worker is asked once, kept for a while, and forgotten with the worker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response
from support.generators import OUR_PARAMETERS, OurWorker, StockWorker, Worker
from support.processes import free_port
from support.script import CONTEXT, NAME
from support.served import served

from danlu.adapters.errors import ServeError, WorkerLost, WorkerUnreachable
from danlu.adapters.host.http import Http
from danlu.controller.api.profiles import EXPIRY, STOCK_PARAMETERS, Profiles


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def known(worker: Worker) -> AsyncIterator[tuple[Profiles, str, Clock]]:
    clock = Clock()
    with served(worker.app()) as address:
        async with Http() as http:
            yield Profiles(http, 10.0, clock), address, clock


@pytest.mark.anyio
async def test_a_worker_of_ours_says_what_it_can() -> None:
    async with known(OurWorker()) as (profiles, address, _):
        profile = await profiles.of(address, NAME)
    assert not profile.stock and profile.deltas and profile.embeddings
    assert profile.parameters == set(OUR_PARAMETERS)
    assert profile.context_length == CONTEXT and profile.conversation is None


@pytest.mark.anyio
async def test_a_stock_worker_is_told_by_what_it_lacks() -> None:
    async with known(StockWorker()) as (profiles, address, _):
        profile = await profiles.of(address, NAME)
    assert profile.stock and not profile.deltas
    assert profile.parameters == STOCK_PARAMETERS
    assert profile.conversation is not None and profile.conversation["name"] == "chatglm2"


@pytest.mark.anyio
async def test_many_who_ask_at_once_cause_one_question() -> None:
    worker = OurWorker()
    async with known(worker) as (profiles, address, _):
        await asyncio.gather(*(profiles.of(address, NAME) for _ in range(50)))
        await profiles.of(address, NAME)
    assert worker.asked == ["/worker_get_capabilities"]


@pytest.mark.anyio
async def test_who_leaves_does_not_take_the_answer_from_the_others() -> None:
    worker = OurWorker()
    async with known(worker) as (profiles, address, _):
        first = asyncio.create_task(profiles.of(address, NAME))
        await asyncio.sleep(0)
        second = asyncio.create_task(profiles.of(address, NAME))
        first.cancel()
        assert (await second).context_length == CONTEXT
    assert worker.asked == ["/worker_get_capabilities"]


@pytest.mark.anyio
async def test_after_a_while_it_is_asked_again() -> None:
    worker = OurWorker()
    async with known(worker) as (profiles, address, clock):
        await profiles.of(address, NAME)
        clock.now = EXPIRY - 0.1
        await profiles.of(address, NAME)
        assert len(worker.asked) == 1
        clock.now = EXPIRY
        await profiles.of(address, NAME)
    assert len(worker.asked) == 2


@pytest.mark.anyio
async def test_a_worker_that_was_lost_is_a_stranger() -> None:
    worker = OurWorker()
    async with known(worker) as (profiles, address, _):
        await profiles.of(address, NAME)
        profiles.forget("http://somebody.else")
        await profiles.of(address, NAME)
        assert len(worker.asked) == 1
        profiles.forget(address)
        await profiles.of(address, NAME)
    assert len(worker.asked) == 2


@pytest.mark.anyio
async def test_what_failed_is_not_kept() -> None:
    address = f"http://127.0.0.1:{free_port()}"
    async with Http() as http:
        profiles = Profiles(http, 10.0)
        for _ in range(2):
            with pytest.raises(WorkerUnreachable):
                await profiles.of(address, NAME)


class Odd(StockWorker):
    """Answers with something else than it should."""

    def __init__(self, details: Any = None, template: Any = None) -> None:
        super().__init__()
        self.odd_details, self.odd_template = details, template

    def details(self, body: dict[str, Any]) -> Response:
        return super().details(body) if self.odd_details is None else JSONResponse(self.odd_details)

    def template(self, body: dict[str, Any]) -> Response:
        odd = self.odd_template
        return super().template(body) if odd is None else JSONResponse(odd)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "worker",
    [Odd(details={}), Odd(details=[]), Odd(details={"context_length": "x"}), Odd(template={})],
)
async def test_a_worker_that_answers_nonsense_is_at_fault(worker: Odd) -> None:
    async with known(worker) as (profiles, address, _):
        with pytest.raises(WorkerLost):
            await profiles.of(address, NAME)


class Garbled(OurWorker):
    def capabilities(self, _: dict[str, Any]) -> Response:
        return JSONResponse({"version": 1})


class Loading(OurWorker):
    def capabilities(self, _: dict[str, Any]) -> Response:
        envelope = {"object": "error", "message": "loading", "code": 50005}
        return JSONResponse(envelope, status_code=503)


@pytest.mark.anyio
@pytest.mark.parametrize(("worker", "code"), [(Garbled(), 50006), (Loading(), 50005)])
async def test_a_worker_of_ours_that_cannot_say_is_not_taken_for_a_stock_one(
    worker: Worker, code: int
) -> None:
    async with known(worker) as (profiles, address, _):
        with pytest.raises(ServeError) as caught:
            await profiles.of(address, NAME)
    assert caught.value.code == code and caught.value.status >= 500
