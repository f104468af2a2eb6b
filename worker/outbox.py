"""The way of one sequence's pieces from an engine's thread to its reader. Knows no model."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Protocol, Self

from ..adapters.errors import ServeError
from .job import Piece


class Box(Protocol):
    """What an engine sees of it."""

    @property
    def abandoned(self) -> bool: ...

    def put(self, piece: Piece) -> None: ...

    def close(self, error: ServeError | None = None) -> None: ...


class Outbox:
    """`put` and `close` are for the engine's thread; iteration and `leave` for the event loop.

    Whoever takes a job closes its box, once, whatever happens: a reader never hangs. A reader who
    leaves is seen by the engine as `abandoned` before its next step.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pieces: deque[Piece] = deque()  # append and popleft are atomic: no lock
        self._news = asyncio.Event()
        self._closed = False
        self._error: ServeError | None = None
        self._abandoned = False

    @property
    def abandoned(self) -> bool:
        """Whether the reader has left; nobody will read what is put from now on."""
        return self._abandoned

    @property
    def closed(self) -> bool:
        return self._closed

    def put(self, piece: Piece) -> None:
        assert not self._closed, "a piece for a closed box"
        self._pieces.append(piece)
        self._wake()

    def close(self, error: ServeError | None = None) -> None:
        """End the sequence: after its last piece, or with the error that ended it."""
        assert not self._closed, "a box is closed once"
        self._error = error
        self._closed = True
        self._wake()

    def leave(self) -> None:
        """The reader is gone, or has read enough."""
        self._abandoned = True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        """The next piece when there is one; after the last, the error that closed the box."""
        while True:
            self._news.clear()
            done = self._closed  # read before the pieces: what was put before closing is delivered
            if self._pieces:
                return self._pieces.popleft()
            if done:
                raise self._error or StopAsyncIteration
            await self._news.wait()

    def _wake(self) -> None:
        # A loop that is closed has no readers left, and the engine's thread must not die of it.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._news.set)


class ThreadOutbox:
    """The same for a reader that is a thread: `put` and `close` are for the engine's, iteration and
    `leave` for the reader's. It waits without an event loop, and may have one running.
    """

    def __init__(self) -> None:
        self._pieces: SimpleQueue[Piece | None] = SimpleQueue()  # None after the last one
        self._error: ServeError | None = None
        self.abandoned = False

    def put(self, piece: Piece) -> None:
        self._pieces.put(piece)

    def close(self, error: ServeError | None = None) -> None:
        self._error = error
        self._pieces.put(None)

    def leave(self) -> None:
        self.abandoned = True

    def __iter__(self) -> Iterator[Piece]:
        """Every piece when it is there; after the last, the error that closed the box."""
        while (piece := self._pieces.get()) is not None:
            yield piece
        if self._error is not None:
            raise self._error
