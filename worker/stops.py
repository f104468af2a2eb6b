"""Cuts a text at the first stop string, and holds back what may become one. Pure."""

from collections.abc import Sequence


class Stops:
    """One sequence's stop strings. The stop that is complete first ends the text, at its start.

    So the result does not depend on how the text was cut into pieces: what is let out is what
    reading it character by character would have let out.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        assert all(stops), "an empty stop string stops everything"
        self._stops = stops
        self._longest = max(map(len, stops), default=0)
        self._held = ""
        self.hit = False

    def feed(self, text: str) -> str:
        """The part of the text so far that is certain and not yet let out."""
        if not self._stops or self.hit:
            return "" if self.hit else text
        text = self._held + text
        start = self._first(text)
        if start is not None:
            self.hit, self._held = True, ""
            return text[:start]
        kept = self._beginning(text)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def flush(self) -> str:
        """What was held back and turned out to be no stop string."""
        held, self._held = self._held, ""
        return held

    def _first(self, text: str) -> int | None:
        """Where the stop begins that ends first; of two that end together, the longer one."""
        found = [(at + len(s), at) for s in self._stops if (at := text.find(s)) >= 0]
        return min(found)[1] if found else None

    def _beginning(self, text: str) -> int:
        """The length of the longest end of `text` with which a stop string could begin."""
        for length in range(min(len(text), self._longest - 1), 0, -1):
            end = text[len(text) - length :]
            if any(s.startswith(end) for s in self._stops):
                return length
        return 0
