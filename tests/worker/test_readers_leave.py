"""Readers who leave, over real sockets: the engine stops, nothing stays taken, the next is served.

The engine plays on real threads, the server is the one that the worker runs on.
"""

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest
from support.engines import FakeEngine, Step, pieces, text_of
from support.processes import SOON, wait_for
from support.served import served
from support.workers import an_app, an_engine, ask

from danlu.worker.job import Job

pytestmark = pytest.mark.anyio

READERS = 100
STREAM, WHOLE = "/worker_generate_stream", "/worker_generate"


def half_told(job: Job) -> Iterator[Step]:
    """Half an answer and then nothing more, until the reader leaves; "Q" is answered in full."""
    told = pieces(job, ["half ", "whole"])
    yield next(told)
    if text_of(job) != "Q":
        yield threading.Event()
    yield from told


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with an_engine(half_told) as engine:
        yield engine


@pytest.fixture
def url(engine: FakeEngine) -> Iterator[str]:
    with served(an_app(engine)) as url:
        yield url


def rested(engine: FakeEngine, url: str) -> None:
    """Nothing runs, nothing waits, by the engine's count and by the wire's; and Q is answered."""
    wait_for(lambda: engine.queue_length() == 0, "no job is left", SOON)
    status = httpx.post(url + "/worker_get_status", trust_env=False).json()
    assert status["queue_length"] == 0
    answer = httpx.post(url + WHOLE, content=ask("Q"), trust_env=False).json()
    assert (answer["text"], answer["finish_reason"]) == ("half whole", "stop")


async def read_half(client: httpx.AsyncClient, url: str) -> None:
    async with client.stream("POST", url + STREAM, content=ask("for ever")) as answer:
        async for chunk in answer.aiter_bytes():
            assert b"half " in chunk
            return


async def test_a_hundred_streams_whose_readers_leave_halfway(engine: FakeEngine, url: str) -> None:
    limits = httpx.Limits(max_connections=READERS)
    async with httpx.AsyncClient(trust_env=False, limits=limits, timeout=30) as client:
        await asyncio.gather(*(read_half(client, url) for _ in range(READERS)))
    rested(engine, url)
    assert engine.left == READERS


def hang_up_after_asking(url: str, path: str, body: bytes, length: int | None = None) -> None:
    """Send a request, perhaps a part of it, and close the connection without reading."""
    address = httpx.URL(url)
    with socket.create_connection((address.host, address.port or 80)) as sock:
        head = f"POST {path} HTTP/1.1\r\nHost: w\r\nContent-Length: {length or len(body)}\r\n\r\n"
        sock.sendall(head.encode() + body)


@pytest.mark.parametrize("path", [STREAM, WHOLE])
async def test_readers_who_leave_before_the_first_word(
    path: str, engine: FakeEngine, url: str
) -> None:
    """Most of them while they still wait for a thread of the engine."""
    for _ in range(20):
        hang_up_after_asking(url, path, ask("for ever"))
    wait_for(lambda: len(engine.jobs) == 20, "all are asked", SOON)
    rested(engine, url)


async def test_a_reader_who_leaves_while_asking_costs_nothing(
    engine: FakeEngine, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    for path in (STREAM, WHOLE, "/worker_get_embeddings", "/count_token", "/model_details"):
        hang_up_after_asking(url, path, ask("never whole"), length=1000)
    rested(engine, url)
    assert [text_of(job) for job in engine.jobs] == ["Q"]
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == []


async def test_one_who_leaves_does_not_disturb_the_others(engine: FakeEngine, url: str) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        leaving = [read_half(client, url) for _ in range(10)]
        staying = [client.post(url + WHOLE, content=ask("Q")) for _ in range(10)]
        *_, first, last = (*await asyncio.gather(*leaving, *staying),)
    assert first is not None and last is not None
    assert first.json()["text"] == last.json()["text"] == "half whole"
    rested(engine, url)
