"""SIGTERM and Ctrl-C while a training runs: it ends after its step; insisting ends it at once."""

import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# torchrun hands Ctrl-C on to processes that the terminal has told already: that is one wish.
SAME = 2.0  # seconds


class Interruption:
    """Listens inside of a `with` on the main thread; called, it says whether there was a signal."""

    def __init__(
        self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say, self._clock = say, clock
        self._first: float | None = None
        self.status = 128 + signal.SIGINT  # to end with, as a shell tells of a signal
        self._before: dict[signal.Signals, Any] = {}

    def __call__(self) -> bool:
        return self._first is not None

    def __enter__(self) -> Self:
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._told)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _told(self, number: int, _: FrameType | None) -> None:
        if self._first is None:
            self._first = self._clock()
            self.status = 128 + number
            self._say(
                f"{signal.Signals(number).name}: this step is finished and a checkpoint written; "
                "once more ends it at once"
            )
        elif self._clock() - self._first > SAME:
            raise KeyboardInterrupt
