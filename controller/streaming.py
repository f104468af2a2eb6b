"""An answer made of frames that is given up as soon as its reader leaves."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Message, Send

from ..adapters.errors import ServeError
from ..adapters.host.answers import named
from ..adapters.host.readers import AttendedResponse
from ..adapters.wire.fastchat import error_frame
from ..adapters.wire.frames import encode


def refusal(exc: ServeError) -> Response:
    """A request that cannot be taken, as the one frame of its stream."""
    return Response(encode(error_frame(exc)), status_code=exc.status)


class FrameStream(AttendedResponse):
    """Sends frames as they come, at least one, and an error as the last one.

    The first one decides about the status. `frames` is closed before the answer ends, also when
    the reader leaves while nothing comes. It has no Content-Type, as FastChat's has none: clients
    of FastChat read it raw.
    """

    def __init__(self, frames: AsyncGenerator[bytes]) -> None:
        super().__init__()
        self._frames = frames
        del self.headers["content-length"]

    async def send(self, send: Send) -> None:
        begun = False
        async with aclosing(self._frames), aclosing(self._with_errors()) as parts:
            async for status, part in parts:
                if not begun:
                    await send(self._start(status))
                    begun = True
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _with_errors(self) -> AsyncGenerator[tuple[int, bytes]]:
        try:
            async for part in self._frames:
                yield 200, part
        except Exception as exc:
            error = named(exc)
            yield _status(error), encode(error_frame(error))

    def _start(self, status: int) -> Message:
        return {"type": "http.response.start", "status": status, "headers": self.raw_headers}


def _status(exc: ServeError) -> int:
    """A request that is wrong has its real status; any other error comes FastChat's way."""
    return exc.status if exc.status < 500 else 200
