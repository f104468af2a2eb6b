"""Shows how far the loading is: a bar in a terminal, elsewhere a log line every quarter."""

import logging
from collections.abc import Callable
from typing import TextIO

from ..adapters.host.systemd import notify

log = logging.getLogger(__name__)

WIDTH = 24  # characters of the bar
QUARTER = 25  # percent from one log line to the next


class Shown:
    """A `Show` for one model. Called on the loading thread only; systemd's status line follows."""

    def __init__(
        self, model: str, terminal: TextIO | None, tell: Callable[[str], object] = notify
    ) -> None:
        self._model, self._terminal, self._tell = model, terminal, tell
        self._last = (-1, "")

    def __call__(self, fraction: float, detail: str) -> None:
        percent = int(fraction * 100)
        before, _ = self._last
        if (percent, detail) == self._last:
            return
        self._last = (percent, detail)
        self._tell(f"STATUS=loading {self._model}: {percent} % {detail}".rstrip())
        if self._terminal is not None:
            _draw(self._terminal, self._model, percent, detail)
        elif percent // QUARTER > before // QUARTER:
            log.info("loading model=%s percent=%d detail=%s", self._model, percent, detail or "-")


def _draw(terminal: TextIO, model: str, percent: int, detail: str) -> None:
    """One line that the next one, or a log line, is written over."""
    full = WIDTH * percent // 100
    bar = "█" * full + "░" * (WIDTH - full)
    line = f"{model} {bar} {percent:3d} % {detail}"[:79]
    terminal.write(f"{line:<79}" + ("\n" if percent == 100 else "\r"))
    terminal.flush()
