"""What an engine's thread is asked for, by any thread, until all of it is settled."""

import contextlib
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from ..adapters.errors import ServeError, stopping
from ..adapters.models.tuned.adapter import Tuning
from .adapter import Adapter
from .engine import Embeddings
from .failures import fail
from .job import Job
from .outbox import Box


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


class Inbox:
    """Filled by any thread, emptied by the engine's. Sets and events are shared between threads;
    each use of them is atomic.

    Whatever is put is settled once, also where the engine closes and nobody takes it any more.
    """

    def __init__(self) -> None:
        self.closing = threading.Event()
        self._items: SimpleQueue[Item | None] = SimpleQueue()  # None only wakes
        self._boxes: set[Box] = set()  # of jobs running and waiting
        self._promises: set[Future[Embeddings]] = set()

    def __len__(self) -> int:
        """Jobs and errands running and waiting; those whose reader has left are over."""
        return sum(not box.abandoned for box in tuple(self._boxes)) + len(self._promises)

    def arrive(self, job: Job, box: Box) -> None:
        self._boxes.add(box)
        self._post(Arrival(job, box))

    def embed(self, texts: Sequence[str]) -> "Future[Embeddings]":
        promise: Future[Embeddings] = Future()
        self._promises.add(promise)
        promise.add_done_callback(self._promises.discard)
        self._post(Errand(texts, promise))
        return promise

    def change(self, adapter: Adapter, tuning: Tuning | None) -> "Future[None]":
        promise: Future[None] = Future()
        self._post(Change(adapter, tuning, promise))
        return promise

    def take(self, patience: float | None) -> Item | None:
        """What comes within so many seconds, None for whenever that is; raises Empty.

        It is looked for before it is waited for: until then nobody holds the queue's own lock, and
        where taking that lasts longer than the patience, CPython 3.11 waits for ever.
        """
        try:
            return self._items.get_nowait()
        except Empty:
            if patience == 0.0:
                raise
            return self._items.get(timeout=patience)

    def close(self) -> None:
        """Nothing new is taken, and who waits in `take` is woken."""
        self.closing.set()
        self._items.put(None)

    def settle(self, box: Box, error: ServeError | None) -> None:
        """Close the box, unless somebody else does: an engine that closes is emptied by whoever
        comes, too."""
        with contextlib.suppress(KeyError):
            self._boxes.remove(box)
            box.close(error)

    def settle_all(self, error: ServeError) -> None:
        """The last deed of the engine's thread, after which nobody waits for it."""
        self.closing.set()
        for box in tuple(self._boxes):
            self.settle(box, error)
        for promise in tuple(self._promises):
            fail(promise, error)
        self._turn_away()

    def _post(self, item: Item) -> None:
        self._items.put(item)
        if self.closing.is_set():  # nobody may be left to look
            self._turn_away()

    def _turn_away(self) -> None:
        """Whatever is still in the inbox of an engine that closes. Called from any thread."""
        with contextlib.suppress(Empty):
            while True:
                item = self._items.get_nowait()
                if isinstance(item, Arrival):
                    self.settle(item.box, stopping())
                elif item is not None:
                    fail(item.promise, stopping())
