"""Readers who leave: their worker hears of it at once, and every lease is given back."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.api import FakeBackend, api_of
from support.generators import OurWorker, StockWorker, Worker
from support.processes import wait_for
from support.script import NAME

pytestmark = pytest.mark.slow

READERS = 100


def chat(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": NAME, "messages": [{"role": "user", "content": text}], **fields}


class Plane:
    def __init__(self, url: str, backend: FakeBackend, worker: Worker) -> None:
        self.url, self.backend, self.worker = url, backend, worker

    def is_idle(self) -> bool:
        return self.backend.open_leases == 0 and self.worker.running == 0


@pytest.fixture(params=[OurWorker, StockWorker], ids=["ours", "stock"])
def plane(request: pytest.FixtureRequest) -> Iterator[Plane]:
    worker: Worker = request.param()
    with api_of(worker) as (url, backend):
        yield Plane(url, backend, worker)


@pytest.mark.anyio
async def test_100_streams_whose_readers_leave_halfway_leave_nothing_behind(plane: Plane) -> None:
    async def read_and_leave(client: httpx.AsyncClient) -> None:
        body = chat("SLOW", stream=True)
        async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            assert answer.status_code == 200
            await anext(answer.aiter_lines())

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=plane.url, trust_env=False, timeout=60, limits=limits
    ) as client:
        await asyncio.gather(*(read_and_leave(client) for _ in range(READERS)))
    wait_for(plane.is_idle, "every lease and every worker's stream ended", 30)
    assert len(plane.backend.given_back) == len(plane.backend.leased) == READERS
    assert plane.worker.left == READERS
    told = httpx.post(f"{plane.url}/v1/chat/completions", json=chat("Q"), trust_env=False)
    assert told.status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize("fields", [{"stream": True}, {"stream": False}, {"n": 3}])
async def test_a_reader_who_gives_up_before_the_first_word_is_no_longer_served(
    plane: Plane, fields: dict[str, Any]
) -> None:
    body = json.dumps(chat("SLOW", **fields)).encode()
    host, port = plane.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    await asyncio.to_thread(wait_for, lambda: plane.worker.running == body_count(fields), "begun")
    writer.close()
    await asyncio.to_thread(wait_for, plane.is_idle, "the reader's leaving was heard of", 30)
    assert plane.worker.left == body_count(fields)


def body_count(fields: dict[str, Any]) -> int:
    count: int = fields.get("n", 1)
    return count
