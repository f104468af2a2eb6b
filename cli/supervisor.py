"""Keeps several programs running: starts them in order, restarts them, stops them in reverse.

Knows processes, but not what they serve: whether one is ready is asked through `Look`.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..adapters.errors import StartError
from .child import Child
from .readiness import Readiness
from .restarts import CANNOT_START, Enough, Policy, Restarts, manner

LOOK_EVERY = 0.2  # seconds between two looks at a program that is not ready

Look = Callable[[str], Awaitable[Readiness]]


class Show(Protocol):
    """What a person sees of it."""

    def line(self, program: str, text: str) -> None:
        """A line that a program printed."""
        ...

    def note(self, text: str) -> None:
        """Words of the supervisor's own."""
        ...

    def loading(self, program: str, fraction: float, detail: str) -> None: ...

    def settled(self, program: str) -> None:
        """It loads no more: it is ready, or it has ended."""
        ...


@dataclass(frozen=True, slots=True)
class Program:
    """A command line to keep running; it starts once those that it `needs` have been ready."""

    name: str
    argv: tuple[str, ...]
    ready_url: str
    needs: tuple[str, ...] = ()


class GaveUp(Exception):
    """A program crashed too often; `str()` is one sentence."""


@dataclass(slots=True)
class _Kept:
    """What is known of a program while it is kept."""

    program: Program
    restarts: Restarts
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    served: bool = False  # it has been ready once
    child: Child | None = None
    ready_at: float | None = None
    last_words: str = ""

    @property
    def kind(self) -> str:
        """What several programs have in common that differ by a number: worker of worker-1."""
        return self.program.name.partition("-")[0]


class Supervisor:
    """Owned by one event loop; `stop` is to be called there, from a signal's handler.

    `grace` is the number of seconds that a program gets to end after SIGTERM.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        show: Show,
        look: Look,
        *,
        policy: Policy | None = None,
        grace: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        restarts = policy or Policy()
        self._kept: Mapping[str, _Kept] = {
            program.name: _Kept(program, Restarts(restarts)) for program in programs
        }
        self._longest_pause = restarts.longest_pause
        self._show, self._look, self._grace, self._clock = show, look, grace, clock
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Keep the programs running until `stop`, then end them all.

        Raises StartError if one says that it cannot start, GaveUp if one crashes too often; all
        others have ended by then, too.
        """
        keepers = [asyncio.create_task(self._keep(kept)) for kept in self._kept.values()]
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([*keepers, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stopping.set()
            await stopping
            failures = [await _ended(keeper) for keeper in reversed(keepers)]
        for failure in filter(None, failures):
            raise failure

    async def ready(self) -> None:
        """Return once every program is ready."""
        for kept in self._kept.values():
            await kept.ready.wait()

    def stop(self) -> None:
        """End all programs: in order and in peace at the first call, at once at the second."""
        if not self._stopping.is_set():
            self._stopping.set()
            return
        self._grace = 0.0
        for kept in self._kept.values():
            if kept.child is not None:
                kept.child.kill()

    async def _keep(self, kept: _Kept) -> None:
        for name in kept.program.needs:
            await self._kept[name].ready.wait()
        while True:
            status = await self._run_once(kept)
            if self._stopping.is_set():
                return
            ready_at, kept.ready_at = kept.ready_at, None
            lasted = 0.0 if ready_at is None else self._clock() - ready_at
            verdict = kept.restarts.ended(status, lasted)
            if isinstance(verdict, Enough) and not self._can_be_missed(kept):
                raise _failure(kept, status)
            pause = self._longest_pause if isinstance(verdict, Enough) else verdict.pause
            name, how = kept.program.name, manner(status)
            self._show.note(f"{name} ended with {how}; it is started again in {pause:g} s")
            await asyncio.sleep(pause)

    def _can_be_missed(self, kept: _Kept) -> bool:
        """It has served, and another one of its kind serves now: one card out of several."""
        twins = (k for k in self._kept.values() if k is not kept and k.kind == kept.kind)
        return kept.served and any(twin.ready.is_set() for twin in twins)

    async def _run_once(self, kept: _Kept) -> int:
        """The status of one run; a cancelled one is stopped before this returns."""

        def hear(text: str) -> None:
            kept.last_words = text.strip() or kept.last_words
            self._show.line(kept.program.name, text)

        kept.child = await Child.start(kept.program.argv, hear)
        watch = asyncio.create_task(self._watch(kept))
        try:
            return await kept.child.wait()
        finally:
            watch.cancel()
            await asyncio.wait([watch])
            kept.ready.clear()
            self._show.settled(kept.program.name)
            await kept.child.stop(self._grace)
            kept.child = None

    async def _watch(self, kept: _Kept) -> None:
        """Look at a program until it is ready."""
        name = kept.program.name
        while not (seen := await self._look(kept.program.ready_url)).ready:
            if seen.loading:
                self._show.loading(name, seen.progress, seen.detail)
            await asyncio.sleep(LOOK_EVERY)
        kept.ready_at = self._clock()
        self._show.settled(name)
        self._show.note(f"{name} is ready")
        kept.served = True
        kept.ready.set()


async def _ended(keeper: "asyncio.Task[None]") -> Exception | None:
    """Cancel a keeper and wait until its program has ended; what it failed with, if it did."""
    keeper.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        try:
            await keeper
        except Exception as exc:
            return exc
    return None


def _failure(kept: _Kept, status: int) -> Exception:
    name, words = kept.program.name, kept.last_words
    if status == CANNOT_START:
        return StartError(f"{name} cannot start: {words.removeprefix(f'danlu-{kept.kind}: ')}")
    return GaveUp(f"{name} keeps ending, at last with {manner(status)}; its lines above say why")
