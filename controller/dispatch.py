"""Which of several workers gets the next request. Pure: load, speed and chance are given."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Candidate:
    """A worker that serves the model; `load` are the requests that it has."""

    address: str
    load: int
    speed: float


Chance: TypeAlias = Callable[[], float]  # draws a number from 0 up to, not including, 1
Policy: TypeAlias = Callable[[Sequence[Candidate], Chance], Candidate | None]


def shortest_queue(candidates: Sequence[Candidate], _: Chance) -> Candidate | None:
    """The one whose queue is the shortest for its speed; among equals the first.

    A worker of speed 0 is given nothing, here and in the lottery.
    """
    able = [c for c in candidates if c.speed > 0]
    return min(able, key=lambda c: c.load / c.speed, default=None)


def lottery(candidates: Sequence[Candidate], chance: Chance) -> Candidate | None:
    """Anyone, with a probability in proportion to its speed."""
    able = [c for c in candidates if c.speed > 0]
    drawn = chance() * sum(c.speed for c in able)
    for candidate in able:
        drawn -= candidate.speed
        if drawn < 0:
            return candidate
    return able[-1] if able else None  # the sum was rounded up


POLICIES: Mapping[str, Policy] = {"lottery": lottery, "shortest_queue": shortest_queue}
