"""Server-sent events: a status that waits for the first one, and an end whatever happens."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.types import Message

from danlu.controller.api.event_stream import EventStream


async def silence() -> Message:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


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
    assert "secret detail" in caplog.text


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
