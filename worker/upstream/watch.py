"""Looks whether the upstream is there, and tells the worker when it goes and comes.

`Standing` decides what a look means, without a socket or a clock; `Watch` looks.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ...adapters.errors import ServeError
from ..presence import Presence
from ..waiting import first
from .faults import in_full

log = logging.getLogger(__name__)

# Seconds from one look to the next at an upstream that is away: one that was only started anew is
# missed no longer than that, and to be refused every few seconds costs neither side anything.
AGAIN = 4.0

Question = Callable[[], Coroutine[Any, Any, None]]
Sleep = Callable[[float], Coroutine[Any, Any, None]]


class Finding(Enum):
    """What a look found."""

    SERVES = "it takes connections, and serves the model as far as was asked"
    UNFIT = "it takes connections, but does not serve the model"
    UNREACHED = "it takes no connections"


@dataclass(slots=True)
class Standing:
    """What is known of an upstream. Pure: no I/O, no clock.

    It goes away by taking no connections, and by nothing else: it may be slow, and it may refuse.
    It is back once it serves its model: one that is starting is not there yet.
    """

    interval: float
    found: Finding = Finding.SERVES

    @property
    def away(self) -> bool:
        return self.found is not Finding.SERVES

    @property
    def pause(self) -> float:
        """The seconds until the next look."""
        return min(AGAIN, self.interval) if self.away else self.interval

    def after(self, finding: Finding) -> bool:
        """Take in what a look found; whether that is news."""
        if finding is Finding.UNFIT and not self.away:
            finding = Finding.SERVES
        was, self.found = self.found, finding
        return was is not finding


class Watch:
    """Owned by the event loop that asks the upstream: call it from there only.

    `knock` raises a ServeError where no connection is taken, `check` where the model is not served.
    """

    def __init__(
        self,
        knock: Question,
        check: Question,
        presence: Presence,
        *,
        interval: float,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._knock, self._check = knock, check
        self._presence, self._sleep = presence, sleep
        self._standing = Standing(interval)
        self._doubt = asyncio.Event()

    def doubt(self) -> None:
        """A connection failed: look now, unless it is known to be away."""
        self._doubt.set()

    async def run(self) -> None:
        """For ever. One log line a change, none a repetition."""
        while True:
            pause = self._sleep(self._standing.pause)
            if self._standing.away:
                await pause
            else:
                await first(pause, self._doubt.wait())
            self._doubt.clear()
            finding, reason = await self._look()
            if self._standing.after(finding):
                _log_change(self._standing, reason)
                self._presence.change(self._standing.away)

    async def _look(self) -> tuple[Finding, str]:
        """One that is there is only knocked at, which the kernel of a busy server answers."""
        try:
            await self._knock()
        except ServeError as exc:
            return Finding.UNREACHED, in_full(exc)
        try:
            if self._standing.away:
                await self._check()
        except ServeError as exc:
            return Finding.UNFIT, in_full(exc)
        return Finding.SERVES, ""


def _log_change(standing: Standing, reason: str) -> None:
    if not standing.away:
        log.info("the upstream is back")
    elif standing.found is Finding.UNFIT:
        log.warning("the upstream answers again, but does not serve yet: %s", reason)
    else:
        log.warning("the upstream is away: %s; in no registry until it serves again", reason)
