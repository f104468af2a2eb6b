"""How often guesses were tried and were right, by the engine's log."""

import logging
from collections.abc import Iterator

import pytest


class Tries:
    """What the log says of guesses so far."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "danlu.worker.running")
        self._caplog = caplog

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The guesses that were tried and those that were right, of each answer with any."""
        for record in self._caplog.records:
            if record.msg.startswith("looked ahead") and isinstance(record.args, tuple):
                tried, right, _ = record.args
                assert isinstance(tried, int) and isinstance(right, int)
                yield tried, right

    @property
    def right(self) -> int:
        return sum(right for _, right in self)

    @property
    def wrong(self) -> int:
        return sum(tried - right for tried, right in self)
