"""What a batching engine's thread does from its birth to its end: takes what has come, and steps.

What a request is, and how it ends, is `Running`'s to say.
"""

import contextlib
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from queue import Empty

from ..adapters.devices.device import Device
from ..adapters.errors import OutOfMemory, stopping
from .assembling import BURST
from .bound_pool import check_thread
from .embedding import Embedder
from .failures import Failures, check_wanted, fail
from .inbox import Arrival, Change, Errand, Inbox
from .running import Running
from .tunings import Tunings
from .weights import lost

log = logging.getLogger(__name__)


class EngineLoop:
    """Owned by the engine's thread, which is in `live` from beginning to end.

    An idle one waits `gathering` seconds for one more request, of the `concurrency` that may run:
    those that come at once begin at once.
    """

    def __init__(
        self,
        inbox: Inbox,
        embedder: Embedder,
        device: Device,
        failures: Failures,
        *,
        concurrency: int,
        gathering: float,
    ) -> None:
        self._inbox, self._embedder = inbox, embedder
        self._device, self._failures = device, failures
        self._concurrency, self._gathering = concurrency, gathering
        self._errands: deque[Errand] = deque()

    def live(self, make: Callable[[], Running], begun: "Future[None]") -> None:
        """`begun` is done once requests are taken, or has what kept it from that."""
        try:
            self._device.bind_thread()
            self._device.share(1)
            running = make()
        except BaseException as exc:
            begun.set_exception(exc)
            return
        begun.set_result(None)
        try:
            self._serve(running)
        except Exception as exc:  # a fault of ours: nobody may wait for a thread that is gone
            log.exception("the engine's thread failed")
            self._failures.lose(exc)
        self._inbox.closing.set()
        error = lost(self._device) if self._failures.lost.done() else stopping()
        running.end_all(error)
        self._inbox.settle_all(error)

    def _serve(self, running: Running) -> None:
        while not self._inbox.closing.is_set():
            self._receive(running, wait=not (len(running) or self._errands))
            self._step(running)
            if self._errands:
                self._run(self._errands.popleft(), lambda: self._between(running))

    def _receive(self, running: Running, *, wait: bool) -> None:
        """Take in what has come; where there is nothing to do, wait for it, and then a moment more
        for what comes along with it."""
        patience = None if wait else 0.0
        gathered = 0  # tokens of prompts
        with contextlib.suppress(Empty):
            while True:
                item = self._inbox.take(patience)
                patience = 0.0
                if isinstance(item, Arrival):
                    self._arrive(item, running)
                    gathered += len(item.job.prompt_ids)
                    room = gathered < BURST and len(running) < self._concurrency
                    patience = self._gathering if wait and room else 0.0
                elif isinstance(item, Errand):
                    self._errands.append(item)
                elif isinstance(item, Change):
                    self._make(item, running.tunings)

    def _arrive(self, item: Arrival, running: Running) -> None:
        try:
            running.arrive(item.job, item.box)
        except Exception as exc:  # of one request, which must not be the end of all
            self._inbox.settle(item.box, self._failures.explained(exc))

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
        if not self._failures.lost.done():
            self._device.release_memory()

    def _step(self, running: Running) -> None:
        """One step of the batch; whatever fails, nobody is left waiting."""
        if self._failures.lost.done():
            running.end_all(lost(self._device))
            return
        try:
            running.step()
        except Exception as exc:
            running.end_all(self._failures.explained(exc))

    def _run(self, errand: Errand, before_each: Callable[[], None]) -> None:
        """Make the vectors and keep the promise, unless nobody waits for it any more."""

        def wanted() -> None:
            before_each()
            check_wanted(errand.promise)

        try:
            made = self._embedder.embed(errand.texts, wanted)
        except Exception as exc:
            error = self._failures.explained(exc)
        else:
            with contextlib.suppress(InvalidStateError):
                errand.promise.set_result(made)
            return
        if isinstance(error, OutOfMemory):  # out here the failure and its tensors are let go
            self._device.release_memory()
        fail(errand.promise, error)

    def _between(self, running: Running) -> None:
        """Answers go on while vectors are made: a step before each text."""
        self._receive(running, wait=False)
        self._step(running)
        check_thread(self._device)
        if self._failures.lost.done():
            raise lost(self._device)
        if self._inbox.closing.is_set():
            raise stopping()
