"""Processes that train together, as threads: each with a model of its own, all in step."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import TypeVar

import torch
from torch import Tensor

from danlu.training.course.student import Student
from danlu.training.learner import Learner, trained_parameters

T = TypeVar("T")
LIMIT = 60.0  # seconds that one waits for the others: a test that has lost its step ends


class Together:
    """What `count` threads tell each other."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._barrier = Barrier(count, timeout=LIMIT)
        self._told: list[object] = [None] * count

    def run(self, work: Callable[["Rank"], T]) -> list[T]:
        """What `work` gives in each."""
        with ThreadPoolExecutor(self.count) as pool:
            return list(pool.map(lambda rank: self._one(work, rank), range(self.count)))

    def exchange(self, rank: int, value: T) -> list[T]:
        """What all say, to all."""
        self._told[rank] = value
        self._barrier.wait()
        said = list(self._told)
        self._barrier.wait()
        return said  # type: ignore[return-value]

    def _one(self, work: Callable[["Rank"], T], rank: int) -> T:
        try:
            return work(Rank(self, rank))
        except BaseException:
            self._barrier.abort()
            raise


class Rank:
    """One of them, as a `Peers`."""

    def __init__(self, all_of_them: Together, rank: int) -> None:
        self._all = all_of_them
        self.rank = rank
        self.count = all_of_them.count
        self.first = rank == 0

    def total(self, *numbers: float) -> tuple[float, ...]:
        return tuple(map(sum, zip(*self._all.exchange(self.rank, numbers), strict=True)))

    def wait(self) -> None:
        self._all.exchange(self.rank, None)

    def sum_gradients(self, learner: Learner) -> None:
        mine = {n: p.grad for n, p in trained_parameters(learner).items() if p.grad is not None}
        everyones: list[dict[str, Tensor]] = self._all.exchange(self.rank, mine)
        sums = {n: torch.stack([one[n] for one in everyones]).sum(0) for n in mine}
        self.wait()
        for name, grad in mine.items():
            grad.copy_(sums[name])


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing(Student):
    """One that goes down the gradients of all, as a model does that they share."""

    peers: Rank

    def step(self, rate: float, *, longest: float, scale: float = 1.0) -> float:
        self.peers.sum_gradients(self.learner)
        return Student.step(self, rate, longest=longest, scale=scale)
