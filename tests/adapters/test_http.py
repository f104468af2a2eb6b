"""The HTTP client: what an answer is, and by which name each failure goes."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from support.registry_plane import until
from support.served import served
from support.toy_worker import DIE, HANG, Deed, ToyWorker

from danlu.adapters.errors import (
    NotReady,
    ServeError,
    WorkerLost,
    WorkerSilent,
    WorkerUnreachable,
)
from danlu.adapters.host.http import Http, refused


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with Http() as opened:
        yield opened


@pytest.fixture
async def worker() -> AsyncIterator[ToyWorker]:
    async with ToyWorker() as listening:
        yield listening


async def all_of(http: Http, worker: ToyWorker, **options: Any) -> list[bytes]:
    async with http.stream(f"{worker.address}/stream", {}, silence=5, **options) as answer:
        return [chunk async for chunk in answer.chunks()]


@pytest.mark.anyio
async def test_a_post_is_json_both_ways(http: Http, worker: ToyWorker) -> None:
    worker.says = [b'{"text": ', b'"\\u4f60"}']
    assert await http.post(f"{worker.address}/ask", {"q": "你"}, timeout=5) == {"text": "你"}
    assert worker.asked == [("/ask", {"q": "你"})]


@pytest.mark.anyio
async def test_a_post_may_have_no_body(http: Http, worker: ToyWorker) -> None:
    await http.post(f"{worker.address}/worker_get_status", timeout=5)
    assert worker.asked == [("/worker_get_status", None)]


@pytest.mark.anyio
async def test_every_request_has_the_headers_that_the_client_was_given() -> None:
    async def echo(request: Request) -> Response:
        return JSONResponse({"method": request.method, "key": request.headers["authorization"]})

    app = Starlette(routes=[Route("/", echo, methods=["GET", "POST"])])
    with served(app) as url:
        async with Http({"Authorization": "Bearer k"}) as http:
            assert await http.post(url, timeout=5) == {"method": "POST", "key": "Bearer k"}
            async with http.stream(url, silence=5, method="GET") as answer:
                assert await answer.read() == b'{"method":"GET","key":"Bearer k"}'
                assert answer.headers["content-type"] == "application/json"


@pytest.mark.anyio
async def test_chunks_come_as_they_are_sent(http: Http, worker: ToyWorker) -> None:
    worker.says = [b"one", HANG]
    async with http.stream(f"{worker.address}/stream", {}, silence=5) as answer:
        assert await anext(aiter(answer.chunks())) == b"one"


@pytest.mark.anyio
async def test_leaving_early_tells_the_peer(http: Http, worker: ToyWorker) -> None:
    worker.says = [b"one", HANG]
    async with http.stream(f"{worker.address}/stream", {}, silence=5) as answer:
        await anext(aiter(answer.chunks()))
    await until(worker.left.is_set)


@pytest.mark.anyio
async def test_a_cancelled_request_tells_the_peer(http: Http, worker: ToyWorker) -> None:
    worker.says = [HANG]
    asking = asyncio.create_task(all_of(http, worker))
    await until(lambda: worker.asked)
    asking.cancel()
    await until(worker.left.is_set)


@pytest.mark.anyio
async def test_no_proxy_of_the_environment_is_asked(
    http: Http, worker: ToyWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    worker.says = [b"1"]
    assert await http.post(f"{worker.address}/ask", timeout=5) == 1


@pytest.mark.anyio
async def test_a_refused_connection_is_a_worker_that_is_dead(http: Http, worker: ToyWorker) -> None:
    await worker.stop()
    with pytest.raises(WorkerUnreachable, match="cannot be reached"):
        await all_of(http, worker)
    with pytest.raises(WorkerUnreachable, match="cannot be reached"):
        await http.knock(worker.address, timeout=5)


def test_several_addresses_that_refuse_are_one_error_without_a_number() -> None:
    both = "[Errno 99] Cannot assign requested address, [Errno 111] Connect call failed"
    assert refused(OSError(f"Multiple exceptions: {both}"))
    assert refused(ConnectionRefusedError(111, "Connection refused"))
    assert not refused(OSError(113, "No route to host"))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "address",
    [
        *("", "hello", "ftp://w", "http://", "http://w:port", "http://w:99999", "worker:21002"),
        *("http://w..x:1", f"http://{'w' * 64}:1"),
    ],
)
async def test_what_is_no_address_cannot_be_reached(http: Http, address: str) -> None:
    with pytest.raises(WorkerUnreachable, match="is no address"):
        await http.post(f"{address}/ask", timeout=5)
    with pytest.raises(WorkerUnreachable, match="is no address"):
        await http.knock(address, timeout=5)


@pytest.mark.anyio
async def test_a_name_that_is_not_found_proves_no_death(http: Http) -> None:
    with pytest.raises(WorkerLost) as caught:
        await http.post("http://no.such.host.invalid:1/ask", timeout=5)
    assert not isinstance(caught.value, WorkerUnreachable)


@pytest.mark.anyio
@pytest.mark.parametrize("says", [[DIE], [b"one", DIE]])
async def test_a_broken_connection_is_a_worker_that_was_lost(
    http: Http, worker: ToyWorker, says: list[bytes | Deed]
) -> None:
    worker.says = says
    with pytest.raises(WorkerLost, match="broke the connection off: .+|in the middle") as caught:
        await all_of(http, worker)
    assert not isinstance(caught.value, WorkerUnreachable)


@pytest.mark.anyio
@pytest.mark.parametrize("says", [[HANG], [b"one", HANG]])
async def test_a_silent_worker_is_named_silent(
    http: Http, worker: ToyWorker, says: list[bytes | Deed]
) -> None:
    worker.says = says
    with pytest.raises(WorkerSilent, match="silent"):
        async with http.stream(f"{worker.address}/stream", {}, silence=0.05) as answer:
            await answer.read()
    with pytest.raises(WorkerSilent, match="silent"):
        await http.post(f"{worker.address}/ask", timeout=0.05)


@pytest.mark.anyio
async def test_a_full_backlog_is_no_proof_of_death(http: Http) -> None:
    with closing(socket.socket()) as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        where = deaf.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(where)
        try:
            with pytest.raises(WorkerLost, match="accepted no connection in time") as caught:
                await http.knock(f"http://127.0.0.1:{where[1]}", timeout=0.1)
        finally:
            for filler in fillers:
                filler.close()
    assert not isinstance(caught.value, WorkerUnreachable)


@pytest.mark.anyio
async def test_a_knock_at_an_open_door_asks_nothing(http: Http, worker: ToyWorker) -> None:
    await http.knock(worker.address, timeout=5)
    assert worker.asked == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "kind"), [(503, NotReady), (500, ServeError), (404, ServeError)]
)
async def test_another_status_is_an_error_that_quotes_the_answer(
    http: Http, worker: ToyWorker, status: int, kind: type[ServeError]
) -> None:
    worker.status, worker.says = status, [b"it does not work"]
    with pytest.raises(ServeError, match=f"answered {status}: it does not work") as caught:
        await http.post(f"{worker.address}/ask", timeout=5)
    assert type(caught.value) is kind


@pytest.mark.anyio
async def test_an_answer_that_is_no_json_is_an_error(http: Http, worker: ToyWorker) -> None:
    worker.says = [b"<html>"]
    with pytest.raises(ServeError, match="answered no JSON: <html>"):
        await http.post(f"{worker.address}/ask", timeout=5)


@pytest.mark.anyio
async def test_a_redirect_is_not_followed(http: Http, worker: ToyWorker) -> None:
    worker.status, worker.says = 302, [b"elsewhere"]
    with pytest.raises(ServeError, match="answered 302"):
        await http.post(f"{worker.address}/ask", timeout=5)
    assert len(worker.asked) == 1
