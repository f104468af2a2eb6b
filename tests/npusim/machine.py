"""Looks at simulated machines and breaks them: this process' own, or another one's by its id.

The structures mirror native/state.h.
"""

import ctypes
import mmap
from pathlib import Path

DRIVER_ERROR = 507899  # ACL's number for a driver that gave up on the card
NEVER = -1


class Card(ctypes.Structure):
    used: int
    peak: int
    capacity: int
    mallocs: int
    refuse_in: int
    refusals: int
    error: int
    lost_in: int
    lost: int
    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            *("used", "peak", "capacity", "mallocs", "refuse_in", "refusals"),
            *("error", "lost_in", "lost"),
        )
    ]

    def lose(self, after: int = 0, error: int = DRIVER_ERROR) -> None:
        """From the next but `after` call on, every call on the card fails."""
        self.error, self.lost, self.lost_in = error, 0, after

    def refuse(self, times: int, after: int = 0) -> None:
        """Refuse `times` mallocs, after `after` more that go well."""
        self.refusals, self.refuse_in = times, after

    def mend(self) -> None:
        self.lost, self.lost_in, self.refuse_in = 0, NEVER, NEVER


class Thread(ctypes.Structure):
    id: int
    python: int
    pinned: int
    bound: int
    calls: int
    astray: int
    defaulted: int
    cards: int
    raw_name: bytes
    _fields_ = [
        *(
            (name, ctypes.c_int64)
            for name in ("id", "python", "pinned", "bound", "calls", "astray", "defaulted", "cards")
        ),
        ("raw_name", ctypes.c_char * 64),
    ]

    @property
    def name(self) -> str:
        return self.raw_name.decode(errors="replace")

    def __repr__(self) -> str:
        facts = ("python", "pinned", "bound", "calls", "astray", "defaulted")
        counted = " ".join(f"{fact}={getattr(self, fact)}" for fact in facts)
        return f"<{self.name or 'native'} {counted} cards={self.cards:b}>"


class State(ctypes.Structure):
    strict: int
    cards: int
    threads: int
    kernels: int
    bfloat16: int
    jit: int
    compiles: int
    compile_us: int
    recordings: int
    replays: int
    card: "ctypes.Array[Card]"
    thread: "ctypes.Array[Thread]"
    _fields_ = [
        *(
            (name, ctypes.c_int64)
            for name in (
                *("strict", "cards", "threads", "kernels"),
                *("bfloat16", "jit", "compiles", "compile_us", "recordings", "replays"),
            )
        ),
        ("card", Card * 8),
        ("thread", Thread * 4096),
    ]

    def users(self, since: int = 0) -> list[Thread]:
        """The threads that made calls which need a context, in the order in which they came."""
        return [t for t in self.thread[since : self.threads] if t.calls]


def here() -> State:
    """This process' machine."""
    cann = ctypes.CDLL("libascendcl.so")
    cann.npusim_state.restype = ctypes.POINTER(State)
    state: State = cann.npusim_state().contents
    return state


def unbind() -> None:
    """Take the calling thread's context away, as a foreign library's aclrtResetDevice would."""
    ctypes.CDLL("libascendcl.so").npusim_unbind()


def of(directory: Path, pid: int) -> State:
    """The machine of the process `pid`, started with NPUSIM_STATE=directory; outlives its end."""
    with (directory / str(pid)).open("r+b") as file:
        return State.from_buffer(mmap.mmap(file.fileno(), 0))
