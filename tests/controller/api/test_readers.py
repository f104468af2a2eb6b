"""Readers who leave: their worker hears of it at once, and every lease is given back."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import httpx
import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message
from support.api import FakeBackend, api_of
from support.generators import OurWorker, StockWorker, Worker
from support.processes import wait_for
from support.script import NAME

from danlu.controller.api.readers import EventStream, attended

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


async def silence() -> Message:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def disconnect() -> Message:
    return {"type": "http.disconnect"}


@pytest.mark.anyio
async def test_work_that_is_done_is_given_to_its_reader() -> None:
    async def work() -> int:
        return 5

    assert await attended(silence, work()) == 5


@pytest.mark.anyio
async def test_an_error_of_the_work_is_its_readers() -> None:
    async def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await attended(silence, work())


@pytest.mark.anyio
async def test_work_has_ended_when_its_reader_is_said_to_have_left() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("work")

    with pytest.raises(ClientDisconnect):
        await attended(disconnect, work())
    assert ended == ["work"]


@pytest.mark.anyio
async def test_a_defect_in_the_middle_of_a_stream_is_an_error_and_an_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def events() -> AsyncGenerator[bytes]:
        yield b"data: 1\n\n"
        raise KeyError("secret detail")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await EventStream(events())({"type": "http"}, silence, send)
    body = b"".join(message.get("body", b"") for message in sent).decode()
    assert sent[0]["status"] == 200
    assert "internal error: KeyError" in body and "secret" not in body
    assert body.endswith("data: [DONE]\n\n") and sent[-1]["more_body"] is False
    assert "fault in a stream" in caplog.text


@pytest.mark.anyio
async def test_nothing_is_sent_before_the_first_event() -> None:
    async def events() -> AsyncGenerator[bytes]:
        raise ValueError("at once")
        yield b""

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    with pytest.raises(ValueError, match="at once"):
        await EventStream(events())({"type": "http"}, silence, send)
    assert sent == []
