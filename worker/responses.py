"""How the worker answers: streams that follow their box, and errors as FastChat's frames.

A request that is refused has its real status; a fault in the middle of the work comes FastChat's
way, as status 200 and a frame with the error's number. The frame's shape is the wire's business.
"""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from ..adapters.errors import NotReady, ServeError
from ..adapters.host.answers import named
from ..adapters.wire.fastchat import error_frame
from ..adapters.wire.frames import encode
from .framing import Framer
from .outbox import Outbox

log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]


class FrameStream(StreamingResponse):
    """Sends the frames of a box. However it ends, the box is left, so that the engine stops.

    It has no Content-Type, as FastChat's has none: clients of FastChat read it raw.
    """

    def __init__(self, box: Outbox, framer: Framer) -> None:
        super().__init__(self._frames())
        self._box, self._framer = box, framer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with reading("stream", self._box, self._framer):
            await super().__call__(scope, receive, send)

    async def _frames(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._box:
                frame = self._framer.take(piece)
                if frame is not None:
                    yield encode(frame)
        except Exception as exc:
            yield encode(error_frame(named(exc)))


@contextmanager
def reading(what: str, box: Outbox, framer: Framer) -> Iterator[None]:
    """However the block ends, the box is left; and the generation leaves one line in the log."""
    started = time.perf_counter()
    try:
        yield
    finally:
        gone = "left" if not box.closed else "failed"
        box.leave()
        log.info(
            "%s end=%s prompt_tokens=%d completion_tokens=%d seconds=%.2f",
            what,
            framer.finish_reason or gone,
            framer.usage.prompt_tokens,
            framer.usage.completion_tokens,
            time.perf_counter() - started,
        )


def in_a_frame(endpoint: Endpoint) -> Endpoint:
    """The endpoint, its errors as one frame of a stream."""
    return _answering(endpoint, lambda exc: Response(encode(error_frame(exc)), **_facts(exc)))


def in_an_object(endpoint: Endpoint) -> Endpoint:
    """The endpoint, its errors as one frame that is a JSON body."""
    return _answering(endpoint, lambda exc: JSONResponse(error_frame(exc), **_facts(exc)))


def _answering(endpoint: Endpoint, answer: Callable[[ServeError], Response]) -> Endpoint:
    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ClientDisconnect:
            raise
        except Exception as exc:
            return answer(named(exc))

    return answered


def _facts(exc: ServeError) -> dict[str, Any]:
    refused = exc.status < 500 or isinstance(exc, NotReady)
    headers = {} if exc.retry_after is None else {"Retry-After": str(exc.retry_after)}
    return {"status_code": exc.status if refused else 200, "headers": headers}


async def last_frame(box: Outbox, framer: Framer) -> dict[str, Any]:
    """The frame that ends a sequence; raises the error that it ended with."""
    frame: dict[str, Any] | None = None
    async for piece in box:
        frame = framer.take(piece) or frame
    if frame is None:
        raise ServeError("the engine ended without a word")
    return frame
