"""Keeps a worker in the registries of its controllers, from the first hello to the goodbye.

A controller may be there, not yet there, gone, or back with an empty memory. `Membership` decides
what to say next and how long to wait, without a socket or a clock; `attend` says it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from .waiting import first

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.5  # seconds before the second try at a controller that does not answer
LONGEST_PAUSE = 4.0  # seconds; a controller that is back is found again within this time
CALL_TIMEOUT = 5.0  # seconds for one call, as FastChat's
GOODBYE_TIMEOUT = 2.0  # seconds; a stop must not wait for a controller that hangs

Sleep = Callable[[float], Coroutine[Any, Any, None]]


class Call(Enum):
    """What a worker says to a controller."""

    REGISTER = "/register_worker"
    BEAT = "/receive_heart_beat"


class Outcome(Enum):
    """How a controller took it."""

    WELCOME = "it knows this worker"
    FORGOTTEN = "it answers, but does not know this worker"
    UNREACHABLE = "it does not answer, or not as a controller does"


@dataclass(slots=True)
class Membership:
    """A worker's standing with one controller. Pure: no I/O, no clock.

    A controller that stops answering is asked often, and with a heart-beat: one that only paused
    still knows the worker, one that was started anew says that it does not.
    """

    interval: float
    joined: bool = False
    failures: int = 0

    @property
    def call(self) -> Call:
        """What to say next."""
        return Call.BEAT if self.joined else Call.REGISTER

    def after(self, outcome: Outcome) -> float:
        """Take in how the last call went; the seconds until the next one."""
        if outcome is Outcome.UNREACHABLE:
            self.failures += 1
            pause = min(FIRST_PAUSE * 2.0 ** min(self.failures - 1, 10), LONGEST_PAUSE)
            return min(pause, self.interval)
        self.failures = 0
        self.joined = outcome is Outcome.WELCOME
        return self.interval if self.joined else 0.0


class Caller(Protocol):
    """What registration asks of an HTTP client; `adapters.host.http.Http` is one."""

    async def post(self, url: str, body: Any = None, *, timeout: float) -> Any: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """What a worker says of itself; its address is its name. `models` may change."""

    address: str
    models: Callable[[], tuple[str, ...]]
    queue_length: Callable[[], int]

    def status(self) -> dict[str, Any]:
        return {"model_names": list(self.models()), "speed": 1, "queue_length": self.queue_length()}

    def registration(self) -> dict[str, Any]:
        return {
            "worker_name": self.address,
            "check_heart_beat": True,
            "worker_status": self.status(),
            "multimodal": False,
        }

    def beat(self) -> dict[str, Any]:
        return {"worker_name": self.address, "queue_length": self.queue_length()}


@asynccontextmanager
async def registered(
    who: Identity,
    controllers: Sequence[str],
    http: Caller,
    *,
    interval: float,
    sleep: Sleep = asyncio.sleep,
) -> AsyncIterator[Callable[[], None]]:
    """While the block runs, every controller that can be reached knows the worker.

    What the block gets is called when the worker serves other names, on the event loop: the
    controllers are told at once.
    """
    news = [asyncio.Event() for _ in controllers]
    tasks = [
        asyncio.create_task(
            attend(who, url, http, interval=interval, sleep=sleep, news=new), name=url
        )
        for url, new in zip(controllers, news, strict=True)
    ]

    def tell() -> None:
        for new in news:
            new.set()

    try:
        yield tell
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(_say_goodbye(who, url, http) for url in controllers))


async def attend(
    who: Identity,
    controller: str,
    http: Caller,
    *,
    interval: float,
    sleep: Sleep,
    news: asyncio.Event,
) -> None:
    """Keep one controller informed, for ever. One log line a change, none a repetition.

    `news` that the worker serves other names make it register anew.
    """
    member = Membership(interval)
    while True:
        if news.is_set():
            news.clear()
            member.joined = False
        was = (member.joined, member.failures > 0)
        outcome, reason = await _say(member.call, who, controller, http)
        pause = member.after(outcome)
        if (member.joined, member.failures > 0) != was:
            _log_change(controller, outcome, reason)
        await first(sleep(pause), news.wait())


async def _say(call: Call, who: Identity, controller: str, http: Caller) -> tuple[Outcome, str]:
    """Never raises: a worker must not die of its controller, whatever that answers."""
    body = who.registration() if call is Call.REGISTER else who.beat()
    try:
        answer = await http.post(controller + call.value, body, timeout=CALL_TIMEOUT)
        if call is Call.REGISTER:
            return Outcome.WELCOME, ""
        return (Outcome.WELCOME if answer["exist"] else Outcome.FORGOTTEN), ""
    except Exception as exc:
        return Outcome.UNREACHABLE, str(exc) or type(exc).__name__


async def _say_goodbye(who: Identity, controller: str, http: Caller) -> None:
    """A stock controller has no such route, and a dead one no ears: neither matters now."""
    body = {"worker_name": who.address}
    try:
        await http.post(controller + "/unregister_worker", body, timeout=GOODBYE_TIMEOUT)
    except Exception as exc:
        log.debug("no goodbye controller=%s reason=%s", controller, exc)


def _log_change(controller: str, outcome: Outcome, reason: str) -> None:
    if outcome is Outcome.WELCOME:
        log.info("registered controller=%s", controller)
    elif outcome is Outcome.FORGOTTEN:
        log.info("forgotten by controller=%s: registering again", controller)
    else:
        log.warning("waiting for controller=%s: %s", controller, reason)
