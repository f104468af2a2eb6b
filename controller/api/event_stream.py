"""An answer made of server-sent events that is given up as soon as its reader leaves."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.types import Send

from ...adapters.host.answers import named
from ...adapters.host.readers import AttendedResponse
from ...adapters.wire.sse import DONE, error_event

HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
)


class EventStream(AttendedResponse):
    """Server-sent events; the status waits for the first of them, so that an error has its own."""

    def __init__(self, events: AsyncGenerator[bytes]) -> None:
        self.events = events
        self.background = None

    async def send(self, send: Send) -> None:
        async with aclosing(self.events) as events:
            first = await anext(events)
            await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
            await _body(send, first)
            try:
                async for event in events:
                    await _body(send, event)
            except Exception as exc:
                await _body(send, error_event(named(exc)))
        await _body(send, DONE, more=False)


async def _body(send: Send, data: bytes, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})
