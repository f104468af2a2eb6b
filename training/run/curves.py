"""Draws loss, learning rate, speed and memory over the steps into curves.png, now and then."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..progress import Evaluated, Measured, Progress
from . import lines

EVERY = 20.0  # seconds; a drawing takes about half of one
PAUSE = 40  # times as long as a drawing took, at the least: of a million steps one takes seconds
PARTS = 50  # of a run; over about one of them a loss is smoothed
GIB = 2**30
DRAWN = ("step", "loss", "learning_rate", "tokens", "seconds", "memory")


class Curves:
    """A Listener that reads the log once and then keeps what it hears; `close` draws the last."""

    def __init__(self, path: Path, log: Path, clock: Callable[[], float]) -> None:
        self._path, self._log, self._clock = path, log, clock
        self.steps: list[lines.Line] = []
        self.evaluations: list[lines.Line] = []
        self._due = clock() + EVERY

    def begun(self, at: Progress, steps: int) -> None:
        for line in lines.read(self._log, at.step) if at.step else []:
            kept = {"step": self.steps, "evaluation": self.evaluations}.get(line["kind"])
            if kept is not None:
                kept.append(_drawn(line))

    def measured(self, what: Measured) -> None:
        self.steps.append(_drawn(lines.of_step(what)))
        self._perhaps()

    def evaluated(self, what: Evaluated) -> None:
        self.evaluations.append(_drawn(lines.of_evaluation(what)))
        self._perhaps()

    def saved(self, checkpoint: Path) -> None:
        return None

    def close(self) -> None:
        if self.steps:
            self._draw()

    def _perhaps(self) -> None:
        began = self._clock()
        if began < self._due:
            return
        self._draw()
        ended = self._clock()
        self._due = ended + max(EVERY, PAUSE * (ended - began))

    def _draw(self) -> None:
        figure = figure_of(self.steps, self.evaluations)
        beside = self._path.with_name(f".{self._path.name}")
        figure.savefig(beside, format="png")
        os.replace(beside, self._path)


def figure_of(steps: Sequence[lines.Line], evaluations: Sequence[lines.Line]) -> Figure:
    """Four fields; `steps` and `evaluations` as the log has them."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    (loss, rate), (speed, memory) = figure.subplots(2, 2)
    x = [line["step"] for line in steps]
    losses = [line["loss"] for line in steps]
    _field(loss, "loss", x, losses, alpha=0.35)
    loss.plot(x, smoothed(losses, len(x) / PARTS), color="C0", label="smoothed")
    if evaluations:
        at, found = ([line[key] for line in evaluations] for key in ("step", "loss"))
        loss.plot(at, _numbers(found), "o-", color="C1", markersize=4, label="evaluation")
    loss.legend()
    _field(rate, "learning rate", x, [line["learning_rate"] for line in steps])
    _field(speed, "tokens/s", x, [line["tokens"] / (line["seconds"] or 1) for line in steps])
    _field(memory, "memory, GiB", x, [line["memory"] / GIB for line in steps])
    for field in (speed, memory):
        field.set_ylim(0, 1.1 * field.dataLim.ymax or 1)
    return figure


def smoothed(losses: Sequence[float | None], span: float) -> list[float]:
    """An exponential mean over about `span` steps, without the pull of where it begins; what is no
    number is passed over."""
    mean, weight, found = 0.0, 0.0, []
    share = 2 / (max(1.0, span) + 1)
    for loss in losses:
        if loss is not None:
            mean += share * (loss - mean)
            weight += share * (1 - weight)
        found.append(mean / weight if weight else float("nan"))
    return found


def _drawn(line: lines.Line) -> lines.Line:
    """What of a line is drawn: all are kept in memory, to the end."""
    return {key: line[key] for key in DRAWN if key in line}


def _field(
    axes: Axes, title: str, x: Sequence[int], y: Sequence[float | None], **style: Any
) -> None:
    mark = "." if len(x) < 2 else None  # one point makes no line
    axes.plot(x, _numbers(y), color="C0", marker=mark, **style)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("step", fontsize=8)
    axes.grid(alpha=0.3)


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]
