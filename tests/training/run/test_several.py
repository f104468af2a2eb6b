"""Several listeners as one: all hear all, and a broken one breaks nobody."""

import logging
from pathlib import Path

import pytest
from support.training import a_step, an_evaluation

from danlu.training.progress import Evaluated, Measured, Progress
from danlu.training.run.several import Several, closing


class Hearing:
    def __init__(self, *, breaks: bool = False) -> None:
        self.heard: list[str] = []
        self._breaks = breaks

    def begun(self, at: Progress, steps: int) -> None:
        self.heard.append("begun")

    def measured(self, what: Measured) -> None:
        self.heard.append("measured")
        if self._breaks:
            raise OSError(28, "No space left on device")

    def evaluated(self, what: Evaluated) -> None:
        self.heard.append("evaluated")

    def saved(self, checkpoint: Path) -> None:
        self.heard.append("saved")


def test_all_hear_all_in_order() -> None:
    first, second = Hearing(), Hearing()
    several = Several([first, second])
    several.begun(Progress(), 10)
    several.measured(a_step())
    several.evaluated(an_evaluation())
    several.saved(Path("checkpoint-1"))
    assert first.heard == second.heard == ["begun", "measured", "evaluated", "saved"]


def test_one_that_fails_is_told_of_once_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    broken, whole = Hearing(breaks=True), Hearing()
    several = Several([broken, whole])
    with caplog.at_level(logging.WARNING):
        several.measured(a_step(1))
        several.measured(a_step(2))
    assert broken.heard == ["measured"]
    assert whole.heard == ["measured", "measured"]
    assert caplog.messages == [
        "Hearing is left out from here on: [Errno 28] No space left on device"
    ]


class Full:
    """Has no room left for what it has to say last."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True
        raise OSError(28, "No space left on device")


def test_one_that_cannot_be_closed_is_told_of_and_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING), closing(Full()) as full:
        assert not full.closed
    assert full.closed
    assert caplog.messages == ["Full cannot be finished: [Errno 28] No space left on device"]


def test_what_ended_a_training_is_not_hidden_by_one_that_cannot_be_closed() -> None:
    with pytest.raises(KeyboardInterrupt), closing(Full()):
        raise KeyboardInterrupt
