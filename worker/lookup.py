"""Looks up how a text may go on: by what followed its last tokens where they stood before. Pure.

Texts that quote repeat themselves: code that is changed, a passage that is corrected, an answer
from the text in the question.
"""

from collections.abc import Sequence
from dataclasses import dataclass

LONGEST = 3  # tokens that are compared; more tell little more


@dataclass(frozen=True, slots=True)
class Match:
    """The last `length` tokens stood before token number `place`, too."""

    length: int
    place: int


class Lookup:
    """Owned by the thread that appends to `tokens`.

    Each run of up to LONGEST tokens is noted with where it ended last: some 300 bytes for each
    token, where the KV cache has tens of thousands.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = tokens
        self._noted = 0  # runs that end here or before are
        self._places: tuple[dict[tuple[int, ...], int], ...] = tuple({} for _ in range(LONGEST))

    def ready(self, end: int, most: int) -> bool:
        """Whether all before token number `end` is noted, after up to `most` more places are: a
        long prompt takes long, and others wait."""
        self._note(min(end, self._noted + 1 + most))
        return self._noted >= end - 1

    def find(self, end: int) -> Match | None:
        """The longest run before token number `end` that ended earlier as well, and the last of
        such places. `end` never falls from call to call."""
        self._note(end)
        for length in range(min(LONGEST, end), 0, -1):
            place = self._places[length - 1].get(tuple(self._tokens[end - length : end]))
            if place is not None:
                return Match(length, place)
        return None

    def goes_on(self, match: Match, end: int, count: int) -> list[int]:
        """`count` tokens as after the match; past `end` they repeat themselves."""
        period = end - match.place
        return [self._tokens[match.place + number % period] for number in range(count)]

    def _note(self, end: int) -> None:
        """Runs that another token follows before `end`, or at it."""
        for stop in range(self._noted + 1, end):
            for length in range(1, min(LONGEST, stop) + 1):
                run = tuple(self._tokens[stop - length : stop])
                self._places[length - 1][run] = stop
        self._noted = max(self._noted, end - 1)
