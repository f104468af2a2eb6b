"""An engine that gives every request a thread of its own, bound to the device, and a whole pass.

It serves whatever transformers can generate with. Requests share the weights and nothing else: no
batch, so the tokens of one are the same whatever else runs.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Any, TypeVar

from ..adapters.devices.device import Device
from ..adapters.errors import DeviceLost, ServeError, stopping
from ..adapters.models.loading import LoadedModel
from ..adapters.wire.generation import GenerateBody
from .bound_pool import BoundPool
from .engine import Embeddings
from .failures import Failures, check_wanted, fail, failure
from .generation import Generation
from .hosted import Hosted, Manner, crowded
from .job import Job
from .outbox import Box
from .presence import Presence
from .weights import lost

T = TypeVar("T")

CONCURRENCY = 5  # requests at a time, as in FastChat


class ThreadEngine:
    """See `Engine`. Sets and events are shared between threads; each use of them is atomic."""

    def __init__(self, loaded: LoadedModel, device: Device, manner: Manner | None = None) -> None:
        manner = manner or Manner()
        self._device, self._manner = device, manner
        self._concurrency = manner.concurrency or CONCURRENCY
        self._pool = BoundPool(device, self._concurrency)
        self.adapters = None  # transformers' own passes know of none
        self.presence = Presence()
        self._hosted = Hosted(loaded, manner, ordered=False)
        self._failures = Failures(device)
        self.card, self.lost = self._hosted.card, self._failures.lost
        self.lost.add_done_callback(lambda _: self._tell_all())
        self._boxes: set[Box] = set()  # of jobs running and waiting
        self._texts: set[Future[Embeddings]] = set()
        self._closing = threading.Event()

    def admit(self, body: GenerateBody) -> Job:
        return self._hosted.admission.admit(body)

    def submit(self, job: Job, box: Box) -> None:
        """The box is closed where the job's future is done, which happens once."""
        full = crowded(self._manner, self._concurrency, self.queue_length())
        if full is not None:
            box.close(full)
            return
        self._boxes.add(box)
        try:
            future = self._pool.submit(lambda: self._guarded(lambda: self._generate(job, box)))
        except RuntimeError:
            self._settle(box, self._closed())
        else:
            future.add_done_callback(lambda done: self._settle(box, self._error(done)))

    def embed(self, texts: Sequence[str]) -> "Future[Embeddings]":
        """The promise is not the pool's own: it can be cancelled while the work runs, too."""
        promise: Future[Embeddings] = Future()
        self._texts.add(promise)
        promise.add_done_callback(self._texts.discard)
        try:
            future = self._pool.submit(lambda: self._guarded(lambda: self._embed(texts, promise)))
        except RuntimeError:
            fail(promise, self._closed())
        else:
            future.add_done_callback(lambda done: self._keep(promise, done))
        return promise

    def count(self, text: str) -> int:
        return self._hosted.count(text)

    def queue_length(self) -> int:
        """Jobs running and waiting; those whose reader has left are over."""
        wanted = sum(not box.abandoned for box in tuple(self._boxes))
        return wanted + len(self._texts)

    def close(self) -> None:
        """What waits is dropped here, what runs ends before its next step; both with an error."""
        self._closing.set()
        self._pool.close()

    def _generate(self, job: Job, box: Box) -> None:
        def wanted() -> bool:
            self._go_on()
            return not box.abandoned

        if not wanted():
            return
        Generation(
            job,
            self._hosted.model,
            self._hosted.vocabulary,
            grammar=self._hosted.begun(job),
            wanted=wanted,
            interval=self._manner.stream_interval,
        ).run(box)

    def _embed(self, texts: Sequence[str], promise: "Future[Embeddings]") -> Embeddings:
        def before_each() -> None:
            self._go_on()
            check_wanted(promise)

        return self._hosted.embedder.embed(texts, before_each)

    def _keep(self, promise: "Future[Embeddings]", done: "Future[Embeddings]") -> None:
        """Pass on how the work ended, unless nobody waits or the loss of the device was told."""
        error = self._error(done)
        if error is not None:
            fail(promise, error)
            return
        with contextlib.suppress(InvalidStateError):
            promise.set_result(done.result())

    def _go_on(self) -> None:
        """Before every step: stop if the engine does, else take a fair share of the device."""
        if self.lost.done():
            raise lost(self._device)
        if self._closing.is_set():
            raise self._closed()
        self._device.share(min(self.queue_length(), self._concurrency))

    def _guarded(self, call: Callable[[], T]) -> T:
        """`call`, whose failures become ServeErrors.

        The failure itself is let go before memory is: its frames hold the request's tensors.
        """
        try:
            return call()
        except Exception as exc:
            error, told = self._failures.explained(exc), isinstance(exc, ServeError)
        if not told and not isinstance(error, DeviceLost):
            self._device.release_memory()
        raise error

    def _tell_all(self) -> None:
        """The first thread to find out ends every answer: another one may hang in the driver."""
        error = lost(self._device)
        for box in tuple(self._boxes):
            self._settle(box, error)
        for promise in tuple(self._texts):
            fail(promise, error)

    def _settle(self, box: Box, error: ServeError | None) -> None:
        """Close the box, unless the loss of the device has closed it."""
        with contextlib.suppress(KeyError):
            self._boxes.remove(box)
            box.close(error)

    def _error(self, done: "Future[Any]") -> ServeError | None:
        if done.cancelled():
            return self._closed()
        exc = done.exception()
        if exc is None or isinstance(exc, ServeError):
            return exc
        return failure(exc)

    def _closed(self) -> ServeError:
        if self._closing.is_set():
            return stopping()
        return ServeError(f"no thread can be bound to {self._device.name} any more")
