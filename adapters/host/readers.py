"""Work for a reader who may leave: then the work is ended at once, and nobody is answered."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

T = TypeVar("T")


class AttendedResponse(Response):
    """A response whose sending is ended once its reader has left. The request's body must have been
    read."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(ClientDisconnect):
            await attended(receive, self.send(send))

    async def send(self, send: Send) -> None:
        """Send the whole of it."""
        raise NotImplementedError


async def attended(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`; raises ClientDisconnect, after ending it, once the reader has left.

    The request's body must have been read: what is received after it can only be the leaving.
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
