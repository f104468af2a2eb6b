"""Asks workers how they are, and tells the registry: a slow one stays, a dead one goes at once."""

import asyncio
import logging
from collections.abc import Callable

from ..adapters.errors import NotReady, ServeError, WorkerUnreachable
from ..adapters.host.http import Http
from ..adapters.wire.fastchat import Registration, WorkerStatus
from ..adapters.wire.parsing import parse
from .registry import Registry, Worker

log = logging.getLogger(__name__)

STATUS_TIMEOUT = 5.0  # seconds for a status, as FastChat's
KNOCK_TIMEOUT = 1.0  # seconds for a bare connection; nobody waits longer for an address
FRESH = 1.0  # seconds after a contact in which nobody looks whether the port is still open


class Rounds:
    """Owned by the event loop. A worker that is slow to answer costs nobody else anything."""

    def __init__(self, registry: Registry, http: Http, clock: Callable[[], float]) -> None:
        self._registry, self._http, self._clock = registry, http, clock

    async def introduce(self, address: str, who: Registration) -> None:
        """Take a worker in, asking it for its status if it did not tell; or log why not."""
        try:
            status = who.worker_status or await self._status(address, STATUS_TIMEOUT)
        except ServeError as exc:
            log.warning("worker not registered address=%s: %s", address, exc)
            return
        self._registry.join(
            address,
            status,
            now=self._clock(),
            check_heart_beat=who.check_heart_beat,
            multimodal=who.multimodal,
        )

    async def visit_all(self, timeout: float) -> None:
        """Ask every worker, all at the same time."""
        await asyncio.gather(*(self._visit(a, timeout) for a in self._registry.addresses()))

    async def address_for(self, model: str) -> str:
        """The address of a worker for `model` that does not refuse connections, or ""."""
        while (worker := self._registry.hand_out(model)) is not None:
            if await self._open(worker):
                return worker.address
        return ""

    async def expire(self) -> None:
        self._registry.expire(self._clock())

    async def _visit(self, address: str, timeout: float) -> None:
        asked = self._clock()
        try:
            status = await self._status(address, timeout)
        except (WorkerUnreachable, NotReady) as exc:
            # Not ready: it was started anew and is still loading; it will register when it is done.
            self._registry.lose(address, asked, str(exc))
        except ServeError as exc:
            log.debug("worker did not tell its status address=%s: %s", address, exc)
        else:
            self._registry.update(address, status, self._clock())

    async def _status(self, address: str, timeout: float) -> WorkerStatus:
        answer = await self._http.post(f"{address}/worker_get_status", timeout=timeout)
        return parse(WorkerStatus, answer)

    async def _open(self, worker: Worker) -> bool:
        """Whether `worker` does not refuse connections; one that is slow to accept does not."""
        now = self._clock()
        if now - worker.last_contact <= FRESH:
            return True
        try:
            await self._http.knock(worker.address, timeout=KNOCK_TIMEOUT)
        except WorkerUnreachable as exc:
            self._registry.lose(worker.address, now, str(exc))
            return False
        except ServeError:
            return True
        self._registry.touch(worker.address, now)
        return True
