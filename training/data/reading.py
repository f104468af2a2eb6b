"""Files of records, read one by one; a broken record costs itself and no other."""

import io
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from ...adapters.errors import StartError
from .dialogue import Bad, Dialogue, Origin, Unusable, dialogue
from .encoding import encoding_of
from .formats import LISTS, OPENING, TOOLS, is_record, turns_in
from .report import Say
from .scanning import LONGEST_RECORD, Fault, Likeness, Scanner, Value, Window

HEAD = 1 << 16  # characters by which the file's form is told
STRING = r'"(?:[^"\\]|\\.)*"'
WRAPPED = re.compile(  # an object that has a list of objects after a few other things
    rf"\s*\{{\s*(?:{STRING}\s*:\s*(?:{STRING}|[-+\w.]+)\s*,\s*)*({STRING})\s*:\s*\[(?=\s*\{{)"
)
LIKENESS = Likeness(is_record, OPENING)

Found = Value | Fault


def dialogues(file: Path, *, say: Say) -> Iterator[Dialogue | Bad]:
    """What each record of the file says, in its order; StartError where it cannot be read.

    A file is a JSON list, an object with one, or JSONL; what it is called does not matter.
    """
    try:
        encoding = encoding_of(file)
        if encoding.guessed:
            say(f"{file} is no UTF-8; it is read as {encoding.name}")
        with file.open(encoding=encoding.name, errors=encoding.errors, newline="\n") as text:
            for number, found in enumerate(_records(text), 1):
                yield _said(found, Origin(str(file), found.line, number))
    except UnicodeError as exc:
        raise StartError(f"{file} is damaged: {exc}") from exc
    except OSError as exc:
        raise StartError(f"{file} cannot be read: {exc.strerror}") from exc


def _said(found: Found, origin: Origin) -> Dialogue | Bad:
    if isinstance(found, Fault):
        return Bad(origin, "broken JSON", found.reason)
    try:
        turns, notes = turns_in(found.value)
        return dialogue(turns, origin, notes)
    except Unusable as exc:
        return Bad(origin, exc.kind, str(exc))


def _records(text: TextIO) -> Iterable[Found]:
    head = text.read(HEAD)
    rest = _Again(head, text)
    if _is_lines(head):
        return _lines(rest)
    start = _wrapper(head)
    window = Window(rest.read)
    window.grow()
    if start is not None:
        window.at = start.end()
        return Scanner(window, LIKENESS, inside=True, alone=False)
    inside = window.next() == "["
    window.at += inside
    return Scanner(window, LIKENESS, inside=inside, alone=True)


def _is_lines(head: str) -> bool:
    """Whether every line is a record by itself, and not only the whole a list of them."""
    first, ended, more = head.lstrip().partition("\n")
    follows = more.lstrip()[:1]
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        if first.startswith("["):
            return False
        if _wrapper(head) is not None:
            return False
        return not ended or not first.startswith("{") or follows == "{"
    if isinstance(value, list):
        return follows in ("{", "[")
    return bool(follows) or is_record(value) or _wrapper(head) is None


def _wrapper(head: str) -> re.Match[str] | None:
    """Up to where the list of records begins in an object; turns and tools are a record's own."""
    found = WRAPPED.match(head)
    return None if found is None or found[1][1:-1] in (*LISTS, *TOOLS) else found


class _Again:
    """A text of which the head has been read."""

    def __init__(self, head: str, rest: TextIO) -> None:
        self._head = io.StringIO(head, newline="\n")
        self._rest = rest

    def read(self, size: int) -> str:
        return self._head.read(size) or self._rest.read(size)

    def readline(self, size: int) -> str:
        line = self._head.readline(size)
        whole = line.endswith("\n") or len(line) == size
        return line if whole else line + self._rest.readline(size - len(line))


def _lines(text: _Again) -> Iterator[Found]:
    number = 0
    while line := text.readline(LONGEST_RECORD):
        number += 1
        if len(line) == LONGEST_RECORD and not line.endswith("\n"):
            while line and not line.endswith("\n"):
                line = text.readline(LONGEST_RECORD)
            yield Fault(number, f"the line has more than {LONGEST_RECORD} characters")
        elif line.strip():
            yield _line(line, number)


def _line(line: str, number: int) -> Found:
    """One record; a comma after it is as good as none."""
    stripped = line.strip().removesuffix(",")
    try:
        return Value(number, json.loads(stripped))
    except json.JSONDecodeError as exc:
        return Fault(number, f"it is no JSON: {exc.msg} at character {exc.pos + 1}")
    except (ValueError, RecursionError) as exc:
        return Fault(number, f"it cannot be read: {exc}")
