"""The processes that train together, as one of them sees them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from ..adapters.errors import StartError


class Repeated(StartError):
    """What ends this process ended the first one, too, which says it."""


class Peers(Protocol):
    """`rank` of `count`. Every call is made by all of them, in the same order."""

    @property
    def rank(self) -> int: ...

    @property
    def count(self) -> int: ...

    @property
    def first(self) -> bool:
        """Whether this one speaks and writes for all."""

    def total(self, *numbers: float) -> tuple[float, ...]:
        """The sums of all processes' numbers, the same to the bit everywhere."""


class Alone:
    """One process by itself."""

    rank = 0
    count = 1
    first = True

    def total(self, *numbers: float) -> tuple[float, ...]:
        return numbers


@contextmanager
def alike(says: bool) -> Iterator[None]:
    """A StartError that several processes come to in the same way, and one of them `says`."""
    try:
        yield
    except StartError as exc:
        if says:
            raise
        raise Repeated(str(exc)) from exc
