"""An answer made of frames: sent as they come, ended by any error, given up with its reader."""

import asyncio
import logging
from collections.abc import AsyncGenerator

import pytest
from starlette.types import Message, Receive
from support.registry_plane import BOUND

from danlu.adapters.errors import OutOfRange, WorkerLost
from danlu.adapters.wire.fastchat import error_frame
from danlu.adapters.wire.frames import encode
from danlu.controller.streaming import FrameStream, refusal

SCOPE = {"type": "http"}


class Frames:
    """A generator that knows whether it was closed."""

    def __init__(self, *parts: bytes, then: Exception | None = None) -> None:
        self._parts, self._then = parts, then
        self.closed = False

    async def __call__(self) -> AsyncGenerator[bytes]:
        try:
            for part in self._parts:
                yield part
            if self._then is not None:
                raise self._then
        finally:
            self.closed = True


async def stays() -> Message:
    """A reader that never leaves."""
    await asyncio.Event().wait()
    raise AssertionError("it stayed")


async def sent(frames: Frames, receive: Receive = stays) -> list[Message]:
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    async with asyncio.timeout(BOUND):
        await FrameStream(frames())(SCOPE, receive, send)
    return messages


def body_of(messages: list[Message]) -> list[bytes]:
    assert messages[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    return [message["body"] for message in messages[1:-1]]


@pytest.mark.anyio
async def test_frames_are_sent_one_by_one_without_a_content_type_or_length() -> None:
    messages = await sent(Frames(b"one", b"two"))
    assert messages[0] == {"type": "http.response.start", "status": 200, "headers": []}
    assert body_of(messages) == [b"one", b"two"]


@pytest.mark.anyio
async def test_an_error_is_the_last_frame() -> None:
    lost = WorkerLost("it is gone")
    assert body_of(await sent(Frames(b"one", then=lost))) == [b"one", encode(error_frame(lost))]


@pytest.mark.anyio
@pytest.mark.parametrize(("error", "status"), [(OutOfRange("7"), 400), (WorkerLost("gone"), 200)])
async def test_only_a_request_that_is_wrong_has_another_status(
    error: Exception, status: int
) -> None:
    messages = await sent(Frames(then=error))
    assert messages[0]["status"] == status
    assert len(body_of(messages)) == 1


@pytest.mark.anyio
async def test_a_defect_of_ours_is_a_frame_without_its_words_and_a_log_with_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        one, error = body_of(await sent(Frames(b"one", then=RuntimeError("inside"))))
    assert b"internal error: RuntimeError" in error and b"inside" not in error
    assert "inside" in caplog.text


@pytest.mark.anyio
async def test_frames_are_closed_before_the_answer_ends_though_the_reader_takes_nothing() -> None:
    frames, taking = Frames(b"one", b"two"), asyncio.Event()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            taking.set()
            await asyncio.Event().wait()

    async def leaves() -> Message:
        await taking.wait()
        return {"type": "http.disconnect"}

    async with asyncio.timeout(BOUND):
        await FrameStream(frames())(SCOPE, leaves, send)
    assert frames.closed


def test_a_refusal_is_a_frame_with_its_real_status() -> None:
    answer = refusal(OutOfRange("7 is too much"))
    assert answer.status_code == 400
    assert answer.body == encode(error_frame(OutOfRange("7 is too much")))
    assert "content-type" not in answer.headers
