"""Several listeners as one; one that fails is told of once and not asked again."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from ..progress import Evaluated, Listener, Measured, Progress

log = logging.getLogger(__name__)


class Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=Closable)


class Several:
    """A Listener: a curve that cannot be drawn must not end a training."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = list(listeners)

    def begun(self, at: Progress, steps: int) -> None:
        self._tell(lambda listener: listener.begun(at, steps))

    def measured(self, what: Measured) -> None:
        self._tell(lambda listener: listener.measured(what))

    def evaluated(self, what: Evaluated) -> None:
        self._tell(lambda listener: listener.evaluated(what))

    def saved(self, checkpoint: Path) -> None:
        self._tell(lambda listener: listener.saved(checkpoint))

    def _tell(self, call: Callable[[Listener], None]) -> None:
        for listener in list(self._listeners):
            try:
                call(listener)
            except Exception as exc:
                self._listeners.remove(listener)
                log.warning("%s is left out from here on: %s", type(listener).__name__, exc)


@contextmanager
def closing(listener: C) -> Iterator[C]:
    """Closed at the end; one that cannot be is told of, for the model is still to be written."""
    try:
        yield listener
    finally:
        try:
            listener.close()
        except Exception as exc:
            log.warning("%s cannot be finished: %s", type(listener).__name__, exc)
