"""The backend over HTTP: a controller in another process, danlu's or a stock FastChat one.

Never asks for /refresh_all_workers: a stock controller forgets its busy workers over it.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from ...adapters.errors import NoWorker, ServeError, UnknownModel, shown
from ...adapters.host.http import Http

log = logging.getLogger(__name__)

TIMEOUT = 10.0  # seconds; a controller answers from memory
LOOKS = 5  # addresses to ask for until one is not to be avoided
SHUNNED = 10.0  # seconds; a stock controller goes on naming a dead worker for minutes


class RemoteBackend:
    """Owned by the event loop. A worker that was lost is shunned here while there is another."""

    def __init__(
        self, http: Http, controller: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._http, self._controller, self._clock = http, controller.rstrip("/"), clock
        self._shunned: dict[str, float] = {}

    async def models(self) -> list[str]:
        answer = await self._ask("/list_models", None)
        return sorted(str(name) for name in answer.get("models", ()))

    @asynccontextmanager
    async def lease(self, model: str, avoid: frozenset[str] = frozenset()) -> AsyncIterator[str]:
        """The controller counts by itself: there is nothing to give back."""
        yield await self._address(model, avoid)

    async def lost(self, address: str) -> None:
        self._shunned[address] = self._clock() + SHUNNED

    async def _address(self, model: str, avoid: frozenset[str]) -> str:
        """A fresh address; a shunned one rather than none, one to be avoided never."""
        last = ""
        for _ in range(LOOKS):
            address = await self._named(model)
            if address in avoid:
                continue
            if not self._is_shunned(address):
                return address
            last = address
        if last:
            return last
        raise NoWorker(f"no other worker of model {shown(model)!r} can be reached", retry_after=5)

    def _is_shunned(self, address: str) -> bool:
        now = self._clock()
        self._shunned = {a: until for a, until in self._shunned.items() if now < until}
        return address in self._shunned

    async def _named(self, model: str) -> str:
        answer = await self._ask("/get_worker_address", {"model": model})
        address = str(answer.get("address", ""))
        if not address:
            raise UnknownModel(f"nobody serves model {shown(model)!r}", param="model")
        return address

    async def _ask(self, path: str, body: dict[str, str] | None) -> dict[str, Any]:
        try:
            answer = await self._http.post(self._controller + path, body, timeout=TIMEOUT)
        except ServeError as exc:
            raise _mute(self._controller, str(exc)) from exc
        if not isinstance(answer, dict):
            raise _mute(self._controller, f"it is none, it answered {str(answer)[:80]}")
        return answer


def _mute(controller: str, why: str) -> ServeError:
    error = NoWorker("gives no answer", peer=controller, why=why, retry_after=5)
    log.warning("controller failed: %s", error.logged)
    return error.blame("the controller")
