"""Work for a reader who may leave: then the work is cancelled at once, and nobody is answered."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ...adapters.errors import ServeError
from ...adapters.wire.sse import DONE, error_event

log = logging.getLogger(__name__)

T = TypeVar("T")

HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
)


async def attended(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`; raises ClientDisconnect, after ending it, once the client has left.

    The request's body must have been read.
    """
    task = asyncio.create_task(work, name="answer")
    watch = asyncio.create_task(_left(receive), name="reader")
    try:
        await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        watch.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    """Server-sent events; the status waits for the first of them, so that an error has its own."""

    def __init__(self, events: AsyncGenerator[bytes]) -> None:
        self.events = events
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await attended(receive, self._send(send))
        except ClientDisconnect:
            return

    async def _send(self, send: Send) -> None:
        async with aclosing(self.events) as events:
            first = await anext(events)
            await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
            await _body(send, first)
            try:
                async for event in events:
                    await _body(send, event)
            except Exception as exc:
                await _body(send, error_event(_told(exc)))
        await _body(send, DONE, more=False)


async def _body(send: Send, data: bytes, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


def _told(exc: Exception) -> ServeError:
    """The error as the reader may see it; a defect of ours goes to the log."""
    if isinstance(exc, ServeError):
        return exc
    log.error("fault in a stream", exc_info=exc)
    return ServeError(f"internal error: {type(exc).__name__}")
