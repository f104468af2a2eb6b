"""A controller elsewhere, danlu's or a stock one, asked as little as possible."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from support.processes import free_port
from support.served import served

from danlu.adapters.errors import NoWorker, UnknownModel
from danlu.adapters.host.http import Http
from danlu.controller.api.remote_backend import LOOKS, SHUNNED, RemoteBackend

A, B = "http://a", "http://b"


class Controller:
    """Names its workers in turns, as a stock one does; remembers the paths it was asked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    async def answer(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        if request.url.path == "/list_models":
            return JSONResponse({"models": ["m", "b"] if self.addresses else []})
        body: dict[str, Any] = await request.json()
        served_here = body["model"] == "m" and self.addresses
        turn = len(self.asked) % len(self.addresses) if self.addresses else 0
        return JSONResponse({"address": self.addresses[turn] if served_here else ""})

    @contextmanager
    def listening(self) -> Iterator[str]:
        paths = ("/list_models", "/get_worker_address")
        routes = [Route(path, self.answer, methods=["POST"]) for path in paths]
        with served(Starlette(routes=routes)) as url:
            yield url


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def backend_at(url: str, clock: Clock | None = None) -> AsyncIterator[RemoteBackend]:
    async with Http() as http:
        yield RemoteBackend(http, url, clock or Clock())


async def leased(backend: RemoteBackend, *avoid: str) -> str:
    async with backend.lease("m", frozenset(avoid)) as address:
        return address


@pytest.mark.anyio
async def test_models_are_sorted_and_nothing_is_refreshed() -> None:
    controller = Controller(A)
    with controller.listening() as url:
        async with backend_at(url) as backend:
            assert await backend.models() == ["b", "m"]
    assert controller.asked == ["/list_models"]


@pytest.mark.anyio
async def test_a_lease_is_one_question() -> None:
    controller = Controller(A)
    with controller.listening() as url:
        async with backend_at(url + "/") as backend:
            assert await leased(backend) == A
    assert controller.asked == ["/get_worker_address"]


@pytest.mark.anyio
async def test_what_is_to_be_avoided_is_never_given() -> None:
    controller = Controller(A, B)
    with controller.listening() as url:
        async with backend_at(url) as backend:
            assert {await leased(backend, A) for _ in range(4)} == {B}
            with pytest.raises(NoWorker):
                await leased(backend, A, B)
    assert controller.asked[-LOOKS:] == ["/get_worker_address"] * LOOKS


@pytest.mark.anyio
async def test_a_lost_worker_is_shunned_for_a_while() -> None:
    clock = Clock()
    with Controller(A, B).listening() as url:
        async with backend_at(url, clock) as backend:
            await backend.lost(A)
            assert {await leased(backend) for _ in range(4)} == {B}
            clock.now = SHUNNED + 1
            assert {await leased(backend) for _ in range(4)} == {A, B}


@pytest.mark.anyio
async def test_a_shunned_worker_is_better_than_none() -> None:
    """It may have come back at its address: finding out costs one refused connection."""
    with Controller(A).listening() as url:
        async with backend_at(url) as backend:
            await backend.lost(A)
            assert await leased(backend) == A
            with pytest.raises(NoWorker):
                await leased(backend, A)


@pytest.mark.anyio
async def test_a_model_that_nobody_serves_is_unknown() -> None:
    with Controller(A).listening() as url:
        async with backend_at(url) as backend:
            with pytest.raises(UnknownModel):
                async with backend.lease("nope"):
                    pass


@pytest.mark.anyio
async def test_a_controller_that_is_not_there_is_a_503_and_no_lost_worker() -> None:
    async with backend_at(f"http://127.0.0.1:{free_port()}") as backend:
        with pytest.raises(NoWorker) as caught:
            await backend.models()
        assert caught.value.told == "the controller gives no answer"
        with pytest.raises(NoWorker) as caught:
            await leased(backend)
        assert caught.value.told == "the controller gives no answer"


@pytest.mark.anyio
async def test_what_is_no_controller_is_told_by_its_answer() -> None:
    async def hello(_: Request) -> Response:
        return JSONResponse("hello")

    with served(Starlette(routes=[Route("/list_models", hello, methods=["POST"])])) as url:
        async with backend_at(url) as backend:
            with pytest.raises(NoWorker, match="it is none, it answered hello"):
                await backend.models()
