"""Slows a stream of answers down to what a browser can show, without slowing its source."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

from .backend import Answer

SHORTEST = 0.05  # seconds between two updates of a page; 20 a second read as flowing
RATE = 500_000  # characters a second to one browser: each update resends the whole conversation
TICK = 1.0  # seconds of silence after which a sign of life is given


def pause(characters: int) -> float:
    """Seconds between two updates that carry `characters` each."""
    return max(SHORTEST, characters / RATE)


async def paced(
    answers: AsyncGenerator[Answer],
    stop: asyncio.Event,
    interval: Callable[[], float],
    *,
    tick: float = TICK,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[Answer | None]:
    """The newest answer, at most every `interval()` seconds; None after `tick` of silence.

    Reading goes on in a task of its own, so that a slow page never holds the worker up. The last
    answer always comes out. Ends early once `stop` is set. However it ends, `answers` is closed
    before the end is reported.
    """
    box = _Box()
    reader = asyncio.create_task(_read(answers, box), name="read-answer")
    stopper = asyncio.create_task(stop.wait(), name="await-stop")
    shown = -1e9
    try:
        while not (stop.is_set() or box.closed and box.newest is None):
            news = asyncio.create_task(box.news.wait(), name="await-news")
            await asyncio.wait({news, stopper}, timeout=tick, return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
            rest = shown + interval() - clock()
            if box.newest is not None and rest > 0 and not box.closed:
                await asyncio.wait({stopper}, timeout=rest)
            if box.newest is not None:
                yield box.take()
                shown = clock()
            elif not box.closed and not stop.is_set():
                yield None
        if box.newest is not None:
            yield box.take()
        if box.error is not None:
            raise box.error
    finally:
        stopper.cancel()
        reader.cancel()
        with suppress(asyncio.CancelledError):
            await reader


class _Box:
    """The newest answer and how the reading ended. Owned by the event loop."""

    def __init__(self) -> None:
        self.newest: Answer | None = None
        self.closed = False
        self.error: Exception | None = None
        self.news = asyncio.Event()

    def take(self) -> Answer:
        assert self.newest is not None
        answer, self.newest = self.newest, None
        if not self.closed:
            self.news.clear()
        return answer


async def _read(answers: AsyncGenerator[Answer], box: _Box) -> None:
    try:
        async with aclosing(answers):
            async for answer in answers:
                box.newest = answer
                box.news.set()
    except Exception as exc:
        box.error = exc
    finally:
        box.closed = True
        box.news.set()
