"""Waits on an event loop for whichever comes first, and is woken from other threads."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any


async def first(*waits: Coroutine[Any, Any, object]) -> None:
    """Until one of them is over; raises what it raises."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()


def tell(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    """Set the event of `loop`, from any thread."""
    with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is left to be told
        loop.call_soon_threadsafe(event.set)
