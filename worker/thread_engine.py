"""An engine that gives every request a thread of its own, bound to the device, and a whole pass.

It serves whatever transformers can generate with. Requests share the weights and nothing else: no
batch, so the tokens of one are the same whatever else runs.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Any, TypeVar

from ..adapters.devices.device import Device, device_named
from ..adapters.devices.explain import meaning_of, told
from ..adapters.devices.fault import Fault
from ..adapters.errors import DeviceLost, NotReady, OutOfMemory, ServeError
from ..adapters.models.loading import LoadedModel
from ..adapters.wire.generation import GenerateBody
from .admission import HONOURED, Admission
from .bound_pool import BoundPool
from .embedding import Embedder
from .engine import Embeddings, ModelCard
from .generation import Generation
from .glm_prompting import prompting_for
from .grammar import FIELD, Grammars
from .job import Job
from .loading import Progress
from .outbox import Box
from .settings import WorkerSettings
from .vocabulary import Vocabulary
from .weights import load, lost

T = TypeVar("T")

log = logging.getLogger(__name__)

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Manner:
    """How an engine serves its model."""

    concurrency: int = 5
    stream_interval: int = 1
    conv_template: str | None = None
    embed_in_truncate: bool = False
    seed: int | None = None


def load_engine(settings: WorkerSettings, progress: Progress) -> "ThreadEngine":
    """The engine for these settings, its model loaded; raises StartError, or DeviceLost where
    another try may go well. Takes its time.

    Binds the calling thread to the device: call it on one that does nothing else.
    """
    device = device_named(settings.device)
    loaded = load(settings, device, progress)
    manner = Manner(
        concurrency=settings.limit_worker_concurrency,
        stream_interval=settings.stream_interval,
        conv_template=settings.conv_template,
        embed_in_truncate=settings.embed_in_truncate,
        seed=settings.seed,
    )
    engine = ThreadEngine(loaded, device, manner)
    log.info(
        "engine ready device=%s context_length=%d free_memory=%.1fGiB",
        device.name,
        engine.card.context_length,
        device.free_memory() / GIB,
    )
    return engine


class ThreadEngine:
    """See `Engine`. Sets and events are shared between threads; each use of them is atomic."""

    def __init__(self, loaded: LoadedModel, device: Device, manner: Manner | None = None) -> None:
        manner = manner or Manner()
        self._model = loaded.model
        self._device = device
        self._manner = manner
        self._pool = BoundPool(device, manner.concurrency)
        self._vocabulary = Vocabulary(loaded.tokenizer)
        self._prompting = prompting_for(
            loaded.tokenizer, self._vocabulary, manner.conv_template, loaded.context_length
        )
        self._grammars = Grammars(loaded.tokenizer, loaded.vocabulary, loaded.end_ids)
        self._admission = Admission(
            self._prompting,
            self._grammars,
            context_length=loaded.context_length,
            vocabulary=loaded.vocabulary,
            end_ids=loaded.end_ids,
            seed=manner.seed,
        )
        self._embedder = Embedder(
            loaded.model,
            self._prompting.encode,
            loaded.context_length,
            manner.embed_in_truncate,
        )
        self.card = ModelCard(
            context_length=loaded.context_length,
            conversation=self._prompting.conversation,
            parameters=HONOURED if self._grammars.possible else HONOURED - {FIELD},
            embeddings=True,
        )
        self._boxes: set[Box] = set()  # of jobs running and waiting
        self._texts: set[Future[Embeddings]] = set()
        self._closing = threading.Event()
        self.lost: Future[None] = Future()

    def admit(self, body: GenerateBody) -> Job:
        return self._admission.admit(body)

    def submit(self, job: Job, box: Box) -> None:
        """The box is closed where the job's future is done, which happens once."""
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
            _fail(promise, self._closed())
        else:
            future.add_done_callback(lambda done: self._keep(promise, done))
        return promise

    def count(self, text: str) -> int:
        return self._prompting.count(text) if text else 0

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
            self._model,
            self._vocabulary,
            grammar=None if job.grammar is None else self._grammars.begin(job.grammar),
            wanted=wanted,
            interval=self._manner.stream_interval,
        ).run(box)

    def _embed(self, texts: Sequence[str], promise: "Future[Embeddings]") -> Embeddings:
        def before_each() -> None:
            self._go_on()
            if promise.cancelled():
                raise NotReady("nobody waits for these vectors any more")

        return self._embedder.embed(texts, before_each)

    def _keep(self, promise: "Future[Embeddings]", done: "Future[Embeddings]") -> None:
        """Pass on how the work ended, unless nobody waits or the loss of the device was told."""
        error = self._error(done)
        if error is not None:
            _fail(promise, error)
            return
        with contextlib.suppress(InvalidStateError):
            promise.set_result(done.result())

    def _go_on(self) -> None:
        """Before every step: stop if the engine does, else take a fair share of the device."""
        if self.lost.done():
            raise lost(self._device)
        if self._closing.is_set():
            raise self._closed()
        self._device.share(min(self.queue_length(), self._manner.concurrency))

    def _guarded(self, call: Callable[[], T]) -> T:
        """`call`, whose failures become ServeErrors.

        The failure itself is let go before memory is: its frames hold the request's tensors.
        """
        try:
            return call()
        except ServeError:
            raise
        except Exception as exc:
            error = self._explained(exc)
        if not isinstance(error, DeviceLost):
            self._device.release_memory()
        raise error

    def _explained(self, exc: Exception) -> ServeError:
        fault = self._device.fault(exc)
        if fault is Fault.LOST or self.lost.done():
            return self._lose(exc)
        if fault is Fault.OUT_OF_MEMORY:
            log.warning("out of memory device=%s: %s", self._device.name, str(exc))
            return OutOfMemory(
                f"{self._device.name} is out of memory; ask for fewer tokens, or try again later"
            )
        log.exception("request failed%s", meaning_of(exc))
        return _failure(exc)

    def _lose(self, exc: Exception) -> DeviceLost:
        """The first thread to find out ends every answer: another one may hang in the driver."""
        error = lost(self._device)
        with contextlib.suppress(InvalidStateError):
            self.lost.set_result(None)
            log.error("device lost device=%s: %s", self._device.name, str(exc))
            for box in tuple(self._boxes):
                self._settle(box, error)
            for promise in tuple(self._texts):
                _fail(promise, error)
        return error

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
        return _failure(exc)

    def _closed(self) -> ServeError:
        if self._closing.is_set():
            return NotReady("this worker is stopping; ask another one")
        return ServeError(f"no thread can be bound to {self._device.name} any more")


def _fail(promise: "Future[Embeddings]", error: ServeError) -> None:
    with contextlib.suppress(InvalidStateError):
        promise.set_exception(error)


def _failure(exc: BaseException) -> ServeError:
    return ServeError(f"the engine failed: {type(exc).__name__}: {told(exc)}")
