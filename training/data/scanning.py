"""The values of a JSON list, one by one, from a text of any length that may be broken in places.

After a fault it goes on in the next line where every value has had a line of its own, else with the
next object that is, or begins like, a record of the data; what lies between is lost. Knows no files
and no formats.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from re import Pattern

LONGEST_RECORD = 1 << 24  # characters; more of them are no record but a list that is broken
BLOCK = 1 << 16  # characters that are read at a time, at least
LINES = 3  # values that have a line each before it is believed of all

BETWEEN = re.compile(r"[\s,]*")
AT_THE_END = re.compile(r"\s*\S{0,16}\s*\Z")  # 16: more than a literal or an escape has
Read = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Value:
    line: int
    value: object


@dataclass(frozen=True, slots=True)
class Fault:
    """What cannot be read, from this line on."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Likeness:
    """How a record is told from other objects: whole, and by how it begins."""

    whole: Callable[[object], bool]
    opening: Pattern[str]


class Window:
    """The part of a text that is looked at, from `at` on. `read` gives more of the text."""

    def __init__(self, read: Read, line: int = 1) -> None:
        self._read = read
        self._counted = 0  # characters before it are in `_line`
        self._line = line
        self.text = ""
        self.at = 0
        self.ended = False

    @property
    def line(self) -> int:
        """In which `at` stands."""
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        return self._line

    def grow(self) -> bool:
        """Look at as much again; False where the text has ended or a record cannot be so long."""
        left = len(self.text) - self.at
        if self.ended or left >= LONGEST_RECORD:
            return False
        _ = self.line  # counts what is forgotten now
        more = self._read(min(max(left, BLOCK), LONGEST_RECORD - left))
        self.text = self.text[self.at :] + more
        self.at = self._counted = 0
        self.ended = not more
        return True

    def next(self) -> str:
        """The first character from `at` on that is between no values; "" at the end."""
        while True:
            found = BETWEEN.match(self.text, self.at)
            assert found is not None
            self.at = found.end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.grow():
                return ""

    def find(self, character: str) -> bool:
        """Go to the next `character`; False where there is none, and the text is at its end."""
        while True:
            found = self.text.find(character, self.at)
            if found >= 0:
                self.at = found
                return True
            self.at = len(self.text)
            if not self.grow():
                return False


class Scanner:
    """The values from where `window` stands: `inside` a list, or one after the other.

    Where the list is not `alone`, what comes after it does not matter.
    """

    def __init__(self, window: Window, likeness: Likeness, *, inside: bool, alone: bool) -> None:
        self._window = window
        self._likeness = likeness
        self._inside = inside
        self._alone = alone
        self._decode = json.JSONDecoder().raw_decode
        self._lines = 0  # values so far, each in one of its own; -1 once one was not
        self._last_line = 0

    def __iter__(self) -> Iterator[Value | Fault]:
        window = self._window
        while mark := window.next():
            if mark == "]" and self._inside:
                self._inside = False
                window.at += 1
                if not self._alone:
                    return
                continue
            line = window.line
            try:
                value, end = self._value(mark)
            except _Broken as exc:
                yield Fault(line, str(exc))
                if not self._recover():
                    return
                continue
            window.at = end
            self._note_line(line)
            yield Value(line, value)
        if self._inside:
            yield Fault(window.line, "the file ends inside of its list")

    def _value(self, mark: str) -> tuple[object, int]:
        """The value at hand and where it ends; raises _Broken."""
        window = self._window
        if mark != "{" and not self._inside:
            raise _Broken(f"{mark!r} stands outside of every list and object")
        while True:
            try:
                value, end = self._decode(window.text, window.at)
            except json.JSONDecodeError as exc:
                if _cut_off(exc, window.text) and window.grow():
                    continue
                raise _Broken(_reason(exc, window)) from None
            except (ValueError, RecursionError) as exc:
                raise _Broken(f"it cannot be read: {exc}") from None
            if end < len(window.text) or not window.grow():
                return value, end  # else it may be the beginning of a longer number

    def _note_line(self, line: int) -> None:
        """A value that begins in `line` has been read."""
        alone = self._last_line < line == self._window.line
        self._lines = self._lines + 1 if alone and self._lines >= 0 else -1
        self._last_line = line

    def _recover(self) -> bool:
        """Go to the next record, whole or not; False at the end of the text."""
        window = self._window
        if self._lines >= LINES:
            return window.find("\n")
        window.at += 1
        while window.find("{"):
            try:
                value, end = self._value("{")
            except _Broken:
                if self._likeness.opening.match(window.text, window.at):
                    return True
                window.at += 1
                continue
            if self._likeness.whole(value):
                return True
            window.at = end
        return False


class _Broken(Exception):
    """What cannot be read; the sentence says why."""


def _cut_off(exc: json.JSONDecodeError, text: str) -> bool:
    """Whether it may be only because the text is not all there."""
    unterminated = exc.msg.startswith("Unterminated string")
    return unterminated or AT_THE_END.match(text, exc.pos) is not None


def _reason(exc: json.JSONDecodeError, window: Window) -> str:
    if len(window.text) - window.at >= LONGEST_RECORD and _cut_off(exc, window.text):
        return f"it does not end within {LONGEST_RECORD} characters"
    return f"it is no JSON: {exc.msg} at its character {exc.pos - window.at + 1}"
