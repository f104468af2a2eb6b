"""Whether what an engine serves can be had, and a worker that is known only while it can."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from .waiting import first, tell


class Presence:
    """Of a model in this process: it is never away.

    Changed by one thread at most, and read by any.
    """

    def __init__(self) -> None:
        self._away = False
        self._listeners: list[Callable[[], object]] = []

    @property
    def away(self) -> bool:
        return self._away

    def change(self, away: bool) -> None:
        """For the one who knows, a second word of the same is none."""
        if away is not self._away:
            self._away = away
            for listener in tuple(self._listeners):
                listener()

    def listen(self, listener: Callable[[], object]) -> None:
        """Called with every change, on the thread that made it."""
        self._listeners.append(listener)


async def while_present(
    presence: Presence,
    stopping: asyncio.Event,
    known: Callable[[], AbstractAsyncContextManager[object]],
) -> None:
    """Until the stop: inside a `known` while the model can be had, outside while it is away."""
    loop, news = asyncio.get_running_loop(), asyncio.Event()
    presence.listen(lambda: tell(loop, news))

    async def until(away: bool) -> bool:
        """Whether it came to that before the stop."""
        while presence.away is not away and not stopping.is_set():
            await first(news.wait(), stopping.wait())
            news.clear()
        return not stopping.is_set()

    while await until(away=False):
        async with known():
            await until(away=True)
