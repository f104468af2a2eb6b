"""What follows when a program under supervision has ended. Pure: no processes, no clock.

A crash is answered by a new start after a pause that doubles each time. A program that says of
itself that it cannot start (exit status 2) is not asked again, and neither is one that keeps
crashing. A run that lasted long enough makes the earlier crashes forgotten.
"""

import signal
from dataclasses import dataclass

CANNOT_START = 2  # adapters.host.program: a StartError


@dataclass(frozen=True, slots=True)
class Policy:
    """The pauses are in seconds; `limit` is the number of crashes in a row that are forgiven."""

    first_pause: float = 1.0
    longest_pause: float = 30.0
    limit: int = 5
    forgotten_after: float = 60.0  # a run this long was a good one


@dataclass(frozen=True, slots=True)
class Again:
    """Start the program again after `pause` seconds."""

    pause: float


@dataclass(frozen=True, slots=True)
class Enough:
    """Do not start it again; `status` is what the whole ends with."""

    status: int


class Restarts:
    """The crashes of one program. Owned by its supervisor."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._crashes = 0

    def ended(self, status: int, lasted: float) -> Again | Enough:
        """The answer to an end that nobody asked for, after a run of `lasted` seconds."""
        if status == CANNOT_START:
            return Enough(CANNOT_START)
        if lasted >= self._policy.forgotten_after:
            self._crashes = 0
        self._crashes += 1
        if self._crashes > self._policy.limit:
            return Enough(1)
        pause = self._policy.first_pause * 2 ** (self._crashes - 1)
        return Again(min(pause, self._policy.longest_pause))


def manner(status: int) -> str:
    """How a process ended, in words: `status` is negative for a signal."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
