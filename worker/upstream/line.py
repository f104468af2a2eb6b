"""An event loop on a thread of its own, with a client on it: work for it comes from any thread."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from ...adapters.host.http import Http

T = TypeVar("T")

CLOSING = 5.0  # seconds that what is cancelled gets to end


class Line:
    """Open from its making until `close`. `http` is for work on the loop."""

    def __init__(self, name: str, headers: Mapping[str, str]) -> None:
        self._loop = asyncio.new_event_loop()
        self.http = Http(headers)
        self._end = asyncio.Event()
        opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(opened,), name=name, daemon=True)
        self._thread.start()
        opened.result()

    def start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """The result to come; who cancels it cancels the work. RuntimeError once it is closed."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            raise

    def every(self, seconds: float, look: Callable[[], None]) -> None:
        """Call `look` on the loop again and again until the end."""

        async def looking() -> None:
            while True:
                await asyncio.sleep(seconds)
                look()

        self.start(looking())

    def call(self, what: Callable[[], object]) -> None:
        """On the loop and soon, from any thread; nothing once it is closed."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what)

    def close(self) -> None:
        """Cancel what runs and end the thread; returns once it has, or does not."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(2 * CLOSING)

    def _run(self, opened: "Future[None]") -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._live(opened))

    async def _live(self, opened: "Future[None]") -> None:
        async with self.http:
            opened.set_result(None)
            await self._end.wait()
            ours = asyncio.all_tasks() - {asyncio.current_task()}
            for task in ours:
                task.cancel()
            if ours:
                await asyncio.wait(ours, timeout=CLOSING)
