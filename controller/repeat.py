"""Repeats an action for as long as a block runs; nothing that it raises ends the repetition."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

log = logging.getLogger(__name__)


@asynccontextmanager
async def repeated(
    name: str, action: Callable[[], Awaitable[None]], pause: float
) -> AsyncIterator[None]:
    """While the block runs, `action` is awaited again and again, with `pause` seconds between."""
    task = asyncio.create_task(_for_ever(name, action, pause), name=name)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _for_ever(name: str, action: Callable[[], Awaitable[None]], pause: float) -> None:
    while True:
        await asyncio.sleep(pause)
        try:
            await action()
        except Exception:
            log.exception("%s failed; it goes on", name)
