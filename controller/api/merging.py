"""Several streams of pieces read at once, in the order in which their pieces come."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 64  # streams that one request reads at a time; the rest of many prompts wait
AHEAD = 2  # pieces a stream may be ahead of a slow reader


async def merged(sources: Sequence[AsyncGenerator[T]]) -> AsyncGenerator[tuple[int, T]]:
    """Each piece with the number of its stream; the first error ends them all."""
    if len(sources) > 1:
        async with aclosing(_many(sources)) as pairs:
            async for pair in pairs:
                yield pair
        return
    async with aclosing(sources[0]) as pieces:
        async for piece in pieces:
            yield 0, piece


async def _many(sources: Sequence[AsyncGenerator[T]]) -> AsyncGenerator[tuple[int, T]]:
    queue: asyncio.Queue[tuple[int, T] | Exception | None] = asyncio.Queue(AHEAD * len(sources))
    turn = asyncio.Semaphore(AT_ONCE)
    pumps = [
        asyncio.create_task(_pump(index, source, queue, turn), name=f"choice-{index}")
        for index, source in enumerate(sources)
    ]
    running = len(pumps)
    try:
        while running:
            item = await queue.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                running -= 1
            else:
                yield item
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(
    index: int,
    source: AsyncGenerator[T],
    queue: "asyncio.Queue[tuple[int, T] | Exception | None]",
    turn: asyncio.Semaphore,
) -> None:
    """Whatever happens to the stream, its reader hears of it."""
    try:
        async with turn, aclosing(source) as pieces:
            async for piece in pieces:
                await queue.put((index, piece))
    except Exception as exc:
        await queue.put(exc)
    else:
        await queue.put(None)
