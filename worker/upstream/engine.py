"""The engine that asks an upstream: many answers at a time on one event loop, none of them ours."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import aclosing
from typing import Any, TypeVar

from ...adapters.errors import DeviceLost, ServeError, WorkerLost, stopping
from ...adapters.wire.generation import GenerateBody
from ..engine import Embeddings, ModelCard
from ..outbox import Box
from ..presence import Presence
from .asking import Asking, UpstreamJob
from .client import BRIEF, Upstream
from .counting import estimate
from .dialects import DIALECTS
from .faults import notes
from .line import Line
from .watch import Watch

T = TypeVar("T")

log = logging.getLogger(__name__)

LOOK = 0.05  # seconds from one look for readers who have left to the next


class UpstreamEngine:
    """See `Engine`. Sets and events are shared between threads; each use of them is atomic.

    `concurrency` requests are at the upstream at a time, or one at one that wants to be asked
    alone; the others wait here. Takes `line` over:
    it is closed with the engine, and then `on_close` is called. Whether the upstream is there is
    looked at every `interval` seconds, and when a connection has failed.
    """

    def __init__(
        self,
        upstream: Upstream,
        line: Line,
        asking: Asking,
        card: ModelCard,
        *,
        concurrency: int = 5,
        interval: float = 45.0,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.card = card
        self.lost: Future[None] = Future()
        self.adapters = None  # the upstream lists its own as models
        self.presence = Presence()
        self._upstream, self._line, self._asking = upstream, line, asking
        self._places = asyncio.Semaphore(1 if DIALECTS[asking.dialect].alone else concurrency)
        self._on_close = on_close
        self._running: dict[Box, Future[None]] = {}  # of jobs running and waiting
        self._texts: set[Future[Embeddings]] = set()
        self._closing = threading.Event()
        self._loss = ""
        self._watch = Watch(
            upstream.knock,
            lambda: upstream.check(asking.model, asking.dialect),
            self.presence,
            interval=interval,
        )
        line.start(self._watch.run())
        line.every(LOOK, self._release_the_abandoned)

    def admit(self, body: GenerateBody) -> UpstreamJob:
        return self._asking.job(body)

    def submit(self, job: UpstreamJob, box: Box) -> None:
        """The box is closed where the job's future is done, which happens once."""
        self._running[box] = Future()  # before it begins: its first piece may be there at once
        future = self._running[box] = self._started(self._serve(job, box))
        future.add_done_callback(lambda done: self._settle(box, self._error(done)))
        if self._closing.is_set():  # it was, in this very moment: the loop may know nothing of it
            future.cancel()

    def embed(self, texts: Sequence[str]) -> "Future[Embeddings]":
        """The promise is not the work's own: it can end with the loss of the upstream, too."""
        promise: Future[Embeddings] = Future()
        work = self._started(self._embed(list(texts)))
        self._texts.add(promise)
        promise.add_done_callback(lambda _: self._texts.discard(promise))
        promise.add_done_callback(lambda _: work.cancel())
        work.add_done_callback(lambda done: self._keep(promise, done))
        return promise

    def count(self, text: str) -> int:
        """As the upstream counts, else an estimate; waits for the upstream, but not long."""
        asking = self._asking
        if not text or DIALECTS[asking.dialect].alone:
            return estimate(text)
        question = self._upstream.count({"prompt": text}, asking.model, asking.dialect)
        counted = self._started(question)
        try:
            found = counted.result(2 * BRIEF)
        except (CancelledError, TimeoutError):
            raise self._closed() from None
        except ServeError as exc:
            self._note(exc)
            raise
        return estimate(text) if found is None else found

    def queue_length(self) -> int:
        """Jobs running and waiting; those whose reader has left are over."""
        wanted = sum(not box.abandoned for box in tuple(self._running))
        return wanted + len(self._texts)

    def close(self) -> None:
        """What runs is ended at the upstream, too; all of it with an error."""
        self._closing.set()
        self._line.close()
        for future in tuple(self._running.values()):  # of whoever came in this very moment
            future.cancel()
        for promise in tuple(self._texts):
            _fail(promise, self._closed())
        self._on_close()

    def lose(self, sentence: str) -> None:
        """The upstream is gone for good: every answer ends with DeviceLost, and so will the worker.

        From any thread.
        """
        self._loss = sentence
        with contextlib.suppress(InvalidStateError):
            self.lost.set_result(None)
            log.error("%s", sentence)
        with contextlib.suppress(RuntimeError):  # the loop has ended, and closed every box
            self._line.start(self._drop_all())

    async def _serve(self, job: UpstreamJob, box: Box) -> None:
        async with self._places:
            if box.abandoned:
                return
            answer = self._upstream.generate(job, self._asking.dialect, self.card.context_length)
            async with aclosing(answer):
                async for piece in answer:
                    if box not in self._running:  # it was dropped: this work is about to end
                        return
                    box.put(piece)

    async def _drop_all(self) -> None:
        for future in tuple(self._running.values()):
            future.cancel()
        for promise in tuple(self._texts):
            _fail(promise, self._closed())

    async def _embed(self, texts: list[str]) -> Embeddings:
        async with self._places:
            return await self._upstream.embed(self._asking.model, texts)

    def _started(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """The work, begun; or a future that says why there is none any more."""
        if not self._closing.is_set() and not self.lost.done():
            with contextlib.suppress(RuntimeError):
                return self._line.start(work)
        work.close()
        refused: Future[T] = Future()
        refused.set_exception(self._closed())
        return refused

    def _release_the_abandoned(self) -> None:
        """On the loop. A box tells nobody that its reader has left, and the upstream may be silent
        for minutes; what is cancelled closes its connection."""
        for box, future in tuple(self._running.items()):
            if box.abandoned:
                future.cancel()

    def _keep(self, promise: "Future[Embeddings]", done: "Future[Embeddings]") -> None:
        error = self._error(done)
        if error is not None:
            _fail(promise, error)
            return
        with contextlib.suppress(InvalidStateError):
            promise.set_result(done.result())

    def _settle(self, box: Box, error: ServeError | None) -> None:
        """Close the box, once."""
        if self._running.pop(box, None) is not None:
            box.close(None if box.abandoned else error)

    def _error(self, done: "Future[Any]") -> ServeError | None:
        if done.cancelled():
            return self._closed()
        exc = done.exception()
        if isinstance(exc, ServeError):
            self._note(exc)
        if exc is None or isinstance(exc, ServeError):
            return DeviceLost(self._loss) if exc is not None and self._loss else exc
        log.error("request failed", exc_info=exc)
        return ServeError(f"the engine failed: {type(exc).__name__}: {exc}")

    def _note(self, error: ServeError) -> None:
        """Log what is kept from the client; a connection that failed is reason to look."""
        if notes(error):
            log.warning("upstream failed: %s", notes(error))
        if isinstance(error, WorkerLost):
            self._line.call(self._watch.doubt)

    def _closed(self) -> ServeError:
        if self._loss:
            return DeviceLost(self._loss)
        return stopping()


def _fail(promise: "Future[Embeddings]", error: ServeError) -> None:
    with contextlib.suppress(InvalidStateError):
        promise.set_exception(error)
