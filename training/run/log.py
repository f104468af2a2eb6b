"""Appends what happens to the run's log.jsonl; on going on it is cut to where that begins."""

import os
from pathlib import Path

from ..progress import Evaluated, Measured, Progress
from . import lines


class Log:
    """A Listener. Every line is in the file once its call is over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._step = 0

    def begun(self, at: Progress, steps: int) -> None:
        self._step = at.step
        kept = lines.read(self._path, at.step) if at.step else []
        beside = self._path.with_name(f".{self._path.name}.new")
        beside.write_text("".join(map(lines.told, kept)), encoding="utf-8")
        os.replace(beside, self._path)

    def measured(self, what: Measured) -> None:
        self._step = what.step
        self._append(lines.of_step(what))

    def evaluated(self, what: Evaluated) -> None:
        self._append(lines.of_evaluation(what))

    def saved(self, checkpoint: Path) -> None:
        self._append(lines.of_checkpoint(self._step, checkpoint.name))

    def _append(self, line: lines.Line) -> None:
        # Opened anew each time: where the log was moved away, another one begins.
        with self._path.open("a", encoding="utf-8") as file:
            file.write(lines.told(line))
