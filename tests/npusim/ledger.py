"""What the ledger of a process that serves on one card must show."""

import threading
from collections.abc import Iterable

from .machine import State, Thread, here

MAIN = "MainThread"


def check_threads(threads: Iterable[Thread], card: int) -> None:
    """Each was bound to `card`, to no other, and had a context at each call.

    Raises AssertionError for the first one that did otherwise.
    """
    for thread in threads:
        assert thread.python and thread.pinned >= 1, f"never bound: {thread}"
        assert thread.astray == thread.defaulted == 0, f"called without a context: {thread}"
        assert thread.cards == 1 << card, f"not on card {card} alone: {thread}"


def check_others(machine: State, card: int) -> None:
    """Not a byte was ever asked of another card than `card`."""
    for other in range(machine.cards):
        used = machine.card[other].peak or machine.card[other].mallocs
        assert other == card or not used, f"card {other} was used beside card {card}"


def check_ended(machine: State, card: int) -> None:
    """Both, for a process that is over: at its end torch_npu waits for the cards in use on the main
    thread, whether that one was bound or not."""
    check_others(machine, card)
    check_threads((t for t in machine.users() if t.name != MAIN), card)
    for thread in machine.users():
        assert not thread.cards & ~(1 << card), f"not on card {card} alone: {thread}"


class Watch:
    """This process' ledger from now on. `main`: the main thread may touch the card, too."""

    def __init__(self, card: int, *, main: bool) -> None:
        self._card, self._machine = card, here()
        self._forbidden = None if main else threading.main_thread().native_id
        self._calls = [thread.calls for thread in self._records()]

    def check(self) -> None:
        before = self._calls + [0] * self._machine.threads
        users = [t for t, calls in zip(self._records(), before, strict=False) if t.calls > calls]
        check_threads(users, self._card)
        check_others(self._machine, self._card)
        for thread in users:
            assert thread.id != self._forbidden, f"no thread of an engine's: {thread}"

    def _records(self) -> list[Thread]:
        return self._machine.thread[: self._machine.threads]
