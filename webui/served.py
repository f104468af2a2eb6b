"""What is served now, asked for once for all tabs, with a version that changes when it changes."""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from ..adapters.errors import ServeError
from .backend import ChatBackend
from .words import SERVER

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class View:
    """The models of this moment; `problem` says why they cannot be known, "" if they are."""

    models: tuple[str, ...] = ()
    problem: str = ""


class Served:
    """Owned by the event loop. No tab, no question: it asks only when it is looked at."""

    def __init__(
        self,
        backend: ChatBackend,
        max_age: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend, self._max_age, self._clock = backend, max_age, clock
        self._boot = uuid.uuid4().hex[:8]  # a restarted page must not repeat an old version
        self._count = 0
        self._asked: float | None = None
        self._view = View()
        self._one_at_a_time = asyncio.Lock()  # so that a slow controller is asked once, not by all

    @property
    def version(self) -> str:
        return f"{self._boot}-{self._count}"

    async def look(self, *, anew: bool = False) -> View:
        """The view, at most `max_age` seconds old; `anew` asks in any case."""
        came = self._clock()
        async with self._one_at_a_time:
            fresh = came if anew else self._clock() - self._max_age
            if self._asked is None or self._asked < fresh:
                self._asked = self._clock()
                self._set(await self._ask())
            return self._view

    async def _ask(self) -> View:
        try:
            return View(models=tuple(await self._backend.models()))
        except ServeError as exc:
            return self._unknown(exc.blame(SERVER))

    def _unknown(self, error: ServeError) -> View:
        """A line in the log when it begins, not at each look."""
        if error.told != self._view.problem:
            log.warning("models not listed: %s", error.logged)
        return View(problem=error.told)

    def _set(self, view: View) -> None:
        if view != self._view:
            self._view = view
            self._count += 1
