"""An engine that answers all requests at once: one bound thread, one forward of the model a step.

Here is the door to that thread. What comes for it lies in the inbox, what it does is the loop's,
and what it owns is put together by `assembled`.
"""

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from ..adapters.devices.device import Device
from ..adapters.errors import BadRequest
from ..adapters.models.loading import LoadedModel
from ..adapters.models.tuned.adapter import Prefix, Tuning
from ..adapters.models.tuned.reading import tuning_at
from ..adapters.wire.generation import GenerateBody
from .adapter import Adapter
from .assembling import Parts, assembled
from .engine import Embeddings
from .engine_loop import EngineLoop
from .failures import Failures
from .hosted import Hosted, Manner, crowded
from .inbox import Inbox
from .job import Job
from .kv_room import Room
from .loading import Progress
from .outbox import Box
from .presence import Presence
from .shelf import Shelf
from .suitability import Fit

# Seconds that an idle engine waits for one more request: those that come at once begin at once.
GATHERING = 0.002
FAREWELL = 5.0  # seconds that a step may take after the program's end


class BatchingEngine:
    """See `Engine`.

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
        self._manner, self._room = manner or Manner(), room
        self.presence = Presence()
        self.adapters = Shelf(self._manner.names, self._load, self._retire)
        self._hosted = Hosted(loaded, self._manner, self.adapters.adapter)
        self._inbox, failures = Inbox(), Failures(device)
        self.card, self.lost = self._hosted.card, failures.lost
        parts = Parts(
            self._hosted, device, fit, room, self._manner, failures, adapter_memory, clock
        )
        loop = EngineLoop(
            self._inbox,
            self._hosted.embedder,
            device,
            failures,
            concurrency=room.concurrency,
            gathering=gathering,
        )
        begun: Future[None] = Future()
        thread = threading.Thread(
            target=loop.live,
            args=(lambda: assembled(parts, self._inbox.settle, progress or Progress()), begun),
            name=f"{device.name}-engine",
            daemon=True,  # it may hang in the driver when the program wants to end
        )
        thread.start()
        weakref.finalize(self, _see_off, self._inbox, thread)
        begun.result()

    def admit(self, body: GenerateBody) -> Job:
        return self._hosted.admission.admit(body)

    def submit(self, job: Job, box: Box) -> None:
        full = crowded(self._manner, self._room.concurrency, self.queue_length())
        if full is not None:
            box.close(full)
            return
        self._inbox.arrive(job, box)

    def embed(self, texts: Sequence[str]) -> "Future[Embeddings]":
        """The promise can be cancelled while the work runs, too."""
        return self._inbox.embed(texts)

    def count(self, text: str) -> int:
        return self._hosted.count(text)

    def queue_length(self) -> int:
        """Jobs running and waiting; those whose reader has left are over."""
        return len(self._inbox)

    def close(self) -> None:
        """What waits and what runs ends before the next step, with an error."""
        self._inbox.close()

    def _load(self, name: str, path: Path) -> "tuple[Adapter, Future[None]]":
        """Read an adapter here, and have it brought to the device."""
        tuning = tuning_at(path, self._hosted.model)
        adapter = _named(name, tuning, self._hosted.context_length)
        return adapter, self._inbox.change(adapter, tuning)

    def _retire(self, adapter: Adapter) -> None:
        self._inbox.change(adapter, None)


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


def _see_off(inbox: Inbox, thread: threading.Thread) -> None:
    """A program that ends under a thread which computes would be aborted."""
    inbox.close()
    if thread is not threading.current_thread():
        thread.join(FAREWELL)
