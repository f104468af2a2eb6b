"""An engine that answers all requests at once: one bound thread, one forward of the model a step.

Who runs in a step is the scheduler's to say, what it computes the runner's, how a request ends
`Running`'s. Here is the door to the thread they live on.
"""

import contextlib
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from ..adapters.devices.device import Device
from ..adapters.errors import BadRequest, OutOfMemory, ServeError, stopping
from ..adapters.kernels.decoder import decoder_for
from ..adapters.models.loading import LoadedModel
from ..adapters.models.tuned.adapter import Prefix, Tuning
from ..adapters.models.tuned.reading import tuning_at
from ..adapters.wire.generation import GenerateBody
from .adapter import Adapter
from .bound_pool import check_thread
from .engine import Embeddings
from .failures import Failures, check_wanted, fail
from .hosted import Hosted, Manner, crowded
from .job import Job
from .kv_cache import KvCache
from .kv_room import Room
from .kv_slots import KvSlots
from .loading import Progress
from .outbox import Box
from .pace import Pace
from .recording import beside, record
from .runner import Runner
from .running import Running
from .sampler import Sampler
from .scheduler import Scheduler
from .shapes import Shapes, power
from .shelf import Shelf
from .steps import Steps
from .suitability import Fit
from .trial import trusted
from .tunings import Tunings
from .warming import warm_up
from .weights import lost

log = logging.getLogger(__name__)

CHUNK = 512  # tokens of prompts in a step: as much as keeps the device busy, and no more memory
# The same while nobody reads an answer: of prompts that come at once, more begin together.
BURST = 1024
# Seconds that an idle engine waits for one more request: those that come at once begin at once.
GATHERING = 0.002
FAREWELL = 5.0  # seconds that a step may take after the program's end


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job and where its answer goes."""

    job: Job
    box: Box


@dataclass(frozen=True, slots=True)
class Errand:
    """Texts whose vectors are wanted."""

    texts: Sequence[str]
    promise: "Future[Embeddings]"


@dataclass(frozen=True, slots=True)
class Change:
    """An adapter that comes with its weights, or one that goes, without."""

    adapter: Adapter
    tuning: Tuning | None
    promise: "Future[None]"


Item = Arrival | Errand | Change


class BatchingEngine:
    """See `Engine`. Sets and events are shared between threads; each use of them is atomic.

    Adapters take at most `adapter_memory` bytes. Made on any thread; raises what the engine's own
    thread could not do: bind, allocate, warm up.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        device: Device,
        fit: Fit,
        room: Room,
        manner: Manner | None = None,
        progress: Progress | None = None,
        adapter_memory: int | None = None,
        clock: Callable[[], float] = time.perf_counter,
        gathering: float = GATHERING,
    ) -> None:
        self._manner, self._clock = manner or Manner(), clock
        self.adapters = Shelf(self._manner.names, self._load, self._retire)
        self._hosted = Hosted(loaded, self._manner, self.adapters.adapter)
        self._device, self._room, self._adapter_memory = device, room, adapter_memory
        self._failures, self._gathering = Failures(device), gathering
        self.card, self.lost = self._hosted.card, self._failures.lost
        self._inbox: SimpleQueue[Item | None] = SimpleQueue()  # None only wakes
        self._boxes: set[Box] = set()  # of jobs running and waiting
        self._promises: set[Future[Embeddings]] = set()
        self._closing = threading.Event()
        begun: Future[None] = Future()
        thread = threading.Thread(
            target=self._live,
            args=(lambda: self._running(fit, progress or Progress()), begun),
            name=f"{device.name}-engine",
            daemon=True,  # it may hang in the driver when the program wants to end
        )
        thread.start()
        weakref.finalize(self, _see_off, self._closing, self._inbox, thread)
        begun.result()

    def admit(self, body: GenerateBody) -> Job:
        return self._hosted.admission.admit(body)

    def submit(self, job: Job, box: Box) -> None:
        full = crowded(self._manner, self._room.concurrency, self.queue_length())
        if full is not None:
            box.close(full)
            return
        self._boxes.add(box)
        self._post(Arrival(job, box))

    def embed(self, texts: Sequence[str]) -> "Future[Embeddings]":
        """The promise can be cancelled while the work runs, too."""
        promise: Future[Embeddings] = Future()
        self._promises.add(promise)
        promise.add_done_callback(self._promises.discard)
        self._post(Errand(texts, promise))
        return promise

    def count(self, text: str) -> int:
        return self._hosted.count(text)

    def queue_length(self) -> int:
        """Jobs running and waiting; those whose reader has left are over."""
        return sum(not box.abandoned for box in tuple(self._boxes)) + len(self._promises)

    def close(self) -> None:
        """What waits and what runs ends before the next step, with an error."""
        self._closing.set()
        self._inbox.put(None)

    def _load(self, name: str, path: Path) -> "tuple[Adapter, Future[None]]":
        """Read an adapter here, and have it brought to the device."""
        tuning = tuning_at(path, self._hosted.model)
        adapter = _named(name, tuning, self._hosted.context_length)
        return adapter, self._change(adapter, tuning)

    def _retire(self, adapter: Adapter) -> None:
        self._change(adapter, None)

    def _change(self, adapter: Adapter, tuning: Tuning | None) -> "Future[None]":
        promise: Future[None] = Future()
        self._post(Change(adapter, tuning, promise))
        return promise

    def _post(self, item: Item) -> None:
        self._inbox.put(item)
        if self._closing.is_set():  # nobody may be left to look
            self._turn_away()

    def _turn_away(self) -> None:
        """Whatever is still in the inbox of an engine that closes. Called from any thread."""
        with contextlib.suppress(Empty):
            while True:
                item = self._inbox.get_nowait()
                if isinstance(item, Arrival):
                    self._settle(item.box, stopping())
                elif item is not None:
                    fail(item.promise, stopping())

    def _settle(self, box: Box, error: ServeError | None) -> None:
        """Close the box, unless somebody else does: an engine that closes is emptied by whoever
        comes, too."""
        with contextlib.suppress(KeyError):
            self._boxes.remove(box)
            box.close(error)

    def _live(self, make: Callable[[], Running], begun: "Future[None]") -> None:
        """The engine's thread, from its birth to its end."""
        try:
            self._device.bind_thread()
            self._device.share(1)
            running = make()
        except BaseException as exc:
            begun.set_exception(exc)
            return
        begun.set_result(None)
        try:
            self._serve(running, deque())
        except Exception as exc:  # a fault of ours: nobody may wait for a thread that is gone
            log.exception("the engine's thread failed")
            self._failures.lose(exc)
        self._closing.set()
        error = lost(self._device) if self.lost.done() else stopping()
        running.end_all(error)
        for box in tuple(self._boxes):
            self._settle(box, error)
        for promise in tuple(self._promises):
            fail(promise, error)
        self._turn_away()

    def _serve(self, running: Running, errands: "deque[Errand]") -> None:
        while not self._closing.is_set():
            self._receive(running, errands, wait=not (len(running) or errands))
            self._step(running)
            if errands:
                self._run(errands.popleft(), lambda: self._between(running, errands))

    def _running(self, fit: Fit, progress: Progress) -> Running:
        """What the thread owns, made on it."""
        model, room = self._hosted.model, self._room
        cache = KvCache(fit.layers, room.slots, room.length, model.dtype, model.device)
        shapes = Shapes(
            length=room.length,
            rows=min(power(room.concurrency), room.slots),
            part=min(CHUNK, room.length),
            fixed=self._device.fixed_shapes,
        )
        tunings = Tunings(model, self._adapter_memory)
        decoder = trusted(decoder_for(model, cache.keys, cache.values), model, cache, shapes)
        runner = Runner(model, cache, shapes, tunings, decoder)
        wanted, lookahead = self._manner.graphs, self._manner.lookahead
        record(runner, cache, shapes, self._device, wanted, progress)
        beside(runner, lambda: warm_up(runner, shapes, progress, lookahead), self._device, wanted)
        scheduler = Scheduler(
            KvSlots(room.slots),
            concurrency=room.concurrency,
            chunk=CHUNK,
            parts=1 if shapes.fixed else None,
        )
        steps = Steps(
            self._device,
            scheduler,
            runner,
            Sampler(room.concurrency, fit.vocabulary, model.device),
            self._failures,
            pace=Pace(CHUNK, BURST),
            seats=room.concurrency,
            clock=self._clock,
        )
        return Running(
            self._hosted,
            self._device,
            scheduler,
            steps,
            self._failures,
            self._settle,
            tunings=tunings,
            interval=self._manner.stream_interval,
            lookahead=lookahead,
        )

    def _receive(self, running: Running, errands: "deque[Errand]", *, wait: bool) -> None:
        """Take in what has come; where there is nothing to do, wait for it, and then a moment more
        for what comes along with it."""
        patience = None if wait else 0.0
        gathered = 0  # tokens of prompts
        with contextlib.suppress(Empty):
            while True:
                item = self._next(patience)
                patience = 0.0
                if isinstance(item, Arrival):
                    self._arrive(item, running)
                    gathered += len(item.job.prompt_ids)
                    room = gathered < BURST and len(running) < self._room.concurrency
                    patience = self._gathering if wait and room else 0.0
                elif isinstance(item, Errand):
                    errands.append(item)
                elif isinstance(item, Change):
                    self._make(item, running.tunings)

    def _next(self, patience: float | None) -> Item | None:
        """What comes within so many seconds, None for whenever that is; raises Empty.

        It is looked for before it is waited for: until then nobody holds the queue's own lock, and
        where taking that lasts longer than the patience, CPython 3.11 waits for ever.
        """
        try:
            return self._inbox.get_nowait()
        except Empty:
            if patience == 0.0:
                raise
            return self._inbox.get(timeout=patience)

    def _make(self, change: Change, tunings: Tunings) -> None:
        """Bring an adapter to the device, or let it go."""
        try:
            if change.tuning is None:
                tunings.retire(change.adapter)
            else:
                tunings.load(change.adapter, change.tuning)
        except Exception as exc:
            error = self._failures.explained(exc)
        else:
            change.promise.set_result(None)
            return
        fail(change.promise, error)
        if not self.lost.done():
            self._device.release_memory()

    def _arrive(self, item: Arrival, running: Running) -> None:
        try:
            running.arrive(item.job, item.box)
        except Exception as exc:  # of one request, which must not be the end of all
            self._settle(item.box, self._failures.explained(exc))

    def _step(self, running: Running) -> None:
        """One step of the batch; whatever fails, nobody is left waiting."""
        if self.lost.done():
            running.end_all(lost(self._device))
            return
        try:
            running.step()
        except Exception as exc:
            running.end_all(self._failures.explained(exc))

    def _between(self, running: Running, errands: "deque[Errand]") -> None:
        """Answers go on while vectors are made: a step before each text."""
        self._receive(running, errands, wait=False)
        self._step(running)
        check_thread(self._device)
        if self.lost.done():
            raise lost(self._device)
        if self._closing.is_set():
            raise stopping()

    def _run(self, errand: Errand, before_each: Callable[[], None]) -> None:
        """Make the vectors and keep the promise, unless nobody waits for it any more."""

        def wanted() -> None:
            before_each()
            check_wanted(errand.promise)

        try:
            made = self._hosted.embedder.embed(errand.texts, wanted)
        except Exception as exc:
            error = self._failures.explained(exc)
        else:
            with contextlib.suppress(InvalidStateError):
                errand.promise.set_result(made)
            return
        if isinstance(error, OutOfMemory):  # out here the failure and its tensors are let go
            self._device.release_memory()
        fail(errand.promise, error)


def _named(name: str, tuning: Tuning, context: int) -> Adapter:
    """The adapter under its name; raises BadRequest for one that leaves a text no room."""
    if not isinstance(tuning, Prefix):
        return Adapter(name)
    if tuning.length >= context:
        raise BadRequest(
            f"the adapter's prefix of {tuning.length} tokens leaves no room for a text in a "
            f"context of {context}",
            param="path",
        )
    return Adapter(name, tuning.length, tuning.first)


def _see_off(
    closing: threading.Event,
    inbox: "SimpleQueue[Item | None]",
    thread: threading.Thread,
) -> None:
    """A program that ends under a thread which computes would be aborted."""
    closing.set()
    inbox.put(None)
    if thread is not threading.current_thread():
        thread.join(FAREWELL)
