"""All steps of a run, epoch after epoch. Pure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from ...adapters.errors import StartError
from ..progress import Progress
from ..settings import TrainingSettings
from .order import Step, epoch_order


@dataclass(frozen=True, slots=True)
class Lesson:
    """A step, and its number `inside` its epoch."""

    step: Step
    epoch: int
    inside: int
    last: bool  # of that epoch


class Timetable:
    """`steps` in all: `--max_steps`, or as many as `--num_train_epochs` take."""

    def __init__(self, settings: TrainingSettings, lengths: NDArray[np.int64], ranks: int) -> None:
        if not len(lengths):
            raise StartError("there is no sample to train on")
        self._settings = settings
        self._lengths = lengths
        self._ranks = ranks
        self._known: dict[int, int] = {}  # epochs, and how many steps they have
        self.steps = settings.max_steps or self._of_epochs(settings.num_train_epochs)

    def after(self, at: Progress) -> Iterator[Lesson]:
        """What is left."""
        inside, left = at.inside, self.steps - at.step
        for epoch in count(at.epoch):
            order = self.epoch(epoch)
            for number in range(inside, len(order)):
                if left <= 0:
                    return
                yield Lesson(order[number], epoch, number, last=number + 1 == len(order))
                left -= 1
            inside = 0

    def passed(self, at: Progress) -> float:
        """Epochs."""
        return at.epoch + (at.inside / self._length(at.epoch) if at.inside else 0)

    def epoch(self, number: int) -> list[Step]:
        settings = self._settings
        return epoch_order(
            self._lengths,
            epoch=number,
            seed=settings.seed,
            rows=settings.per_device_train_batch_size,
            ranks=self._ranks,
            accumulation=settings.gradient_accumulation_steps,
            grouped=settings.group_by_length,
            packed_length=settings.model_max_length if settings.packing else None,
        )

    def _of_epochs(self, epochs: float) -> int:
        part, whole = math.modf(epochs)
        steps = sum(self._length(number) for number in range(int(whole)))
        return steps + (math.ceil(part * self._length(int(whole))) if part else 0)

    def _length(self, epoch: int) -> int:
        """Only packing makes epochs differ."""
        epoch = epoch if self._settings.packing else 0
        if epoch not in self._known:
            self._known[epoch] = len(self.epoch(epoch))
        return self._known[epoch]
