"""Tells how a training goes: transformers' lines on standard output, a bar where a person looks."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ..progress import Evaluated, Measured, Progress

Say = Callable[[str], None]


class Bar(Protocol):
    """What we need of tqdm's."""

    def begin(self, done: int, steps: int) -> None: ...

    def move(self, step: int, loss: float) -> None: ...

    def close(self) -> None: ...


class NoBar:
    """Nobody looks."""

    def begin(self, done: int, steps: int) -> None:
        return None

    def move(self, step: int, loss: float) -> None:
        return None

    def close(self) -> None:
        return None


class Showing:
    """A Listener. `every` so many steps a line goes to `say`, of what came since the last one."""

    def __init__(self, say: Say, bar: Bar, *, every: int, first: bool = False) -> None:
        self._say, self._bar, self._every, self._first = say, bar, every, first
        self._since: list[Measured] = []

    def begun(self, at: Progress, steps: int) -> None:
        self._bar.begin(at.step, steps)

    def measured(self, what: Measured) -> None:
        self._since.append(what)
        self._bar.move(what.step, what.loss)
        due = what.step % self._every == 0 or what.step == what.steps
        if due or (self._first and what.step == 1):
            self._say(line_of(self._since))
            self._since = []

    def evaluated(self, what: Evaluated) -> None:
        self._say(
            f"{{'eval_loss': {_shown(what.loss)}, 'eval_runtime': {what.seconds:.2f}, "
            f"'epoch': {what.epoch:.2f}}}"
        )

    def saved(self, checkpoint: Path) -> None:
        return None  # the log says it


def line_of(steps: list[Measured]) -> str:
    """One line on some steps, the loss as the mean over their trained tokens."""
    last = steps[-1]
    seconds = sum(step.seconds for step in steps)
    speed = sum(step.tokens for step in steps) / seconds if seconds else 0.0
    left_out = sum(step.skipped for step in steps)
    more = f", 'skipped': {left_out}" if left_out else ""
    return (
        f"{{'loss': {_shown(mean_loss(steps))}, 'grad_norm': {_shown(last.gradient_norm)}, "
        f"'learning_rate': {last.learning_rate}, 'epoch': {last.epoch:.2f}, "
        f"'tokens/s': {speed:.0f}{more}}}"
    )


def mean_loss(steps: list[Measured]) -> float:
    """Over the trained tokens of those steps whose loss is a number; NaN without any."""
    known = [step for step in steps if math.isfinite(step.loss) and step.trained]
    trained = sum(step.trained for step in known)
    return sum(step.loss * step.trained for step in known) / trained if trained else math.nan


def _shown(number: float) -> str:
    return f"{number:.4g}" if abs(number) < 1e-2 else f"{number:.4f}".rstrip("0").rstrip(".")
