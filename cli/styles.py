"""Three ways for a terminal chat to take questions and to show answers. Know no model.

simple        plain lines
rich          an editable line with history, answers as Markdown
programmatic  for programs: what FastChat's own tests pipe through its chat
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, TextIO

from ..adapters.errors import StartError

END_OF_MESSAGE = " __END_OF_A_MESSAGE_47582648__\n"  # FastChat's, programmatic style

Write = Callable[[str], None]


class Style(Protocol):
    """How the program talks with whoever sits at the other end."""

    def ask(self, role: str) -> str | None:
        """The next message; None at the end of the input."""
        ...

    def answer(self, role: str) -> AbstractContextManager[Write]:
        """A block in which the parts of an answer are written."""
        ...

    def say(self, text: str) -> None:
        """Words of the program's own."""
        ...


class Simple:
    def __init__(self, out: TextIO) -> None:
        self._out = out

    def ask(self, role: str) -> str | None:
        try:
            return input(f"{role}: ")
        except EOFError:
            print(file=self._out)
            return None

    @contextlib.contextmanager
    def answer(self, role: str) -> Iterator[Write]:
        print(f"{role}: ", end="", file=self._out, flush=True)
        try:
            yield lambda text: print(text, end="", file=self._out, flush=True)
        finally:
            print(file=self._out, flush=True)

    def say(self, text: str) -> None:
        print(f"[{text}]", file=self._out, flush=True)


class Programmatic:
    """Messages come with an end marker and go with `[!OP:role]: ` in front.

    The program's own words go to standard error: standard output is for another program.
    """

    def __init__(self, source: TextIO, out: TextIO, words: TextIO) -> None:
        self._source, self._out, self._words = source, out, words

    def ask(self, role: str) -> str | None:
        message = ""
        while not message.endswith(END_OF_MESSAGE):
            line = self._source.readline()
            if not line:
                return None
            message += line
        message = message.removesuffix(END_OF_MESSAGE)
        print(f"[!OP:{role}]: {message}", file=self._out, flush=True)
        return message

    @contextlib.contextmanager
    def answer(self, role: str) -> Iterator[Write]:
        print(f"[!OP:{role}]: ", end="", file=self._out, flush=True)
        try:
            yield lambda text: print(text, end="", file=self._out, flush=True)
        finally:
            print(file=self._out, flush=True)

    def say(self, text: str) -> None:
        print(text, file=self._words, flush=True)


def style_named(name: str, *, multiline: bool, mouse: bool) -> Style:
    """The style; raises StartError for what it cannot do."""
    if name != "rich":
        for flag, given in (("--multiline", multiline), ("--mouse", mouse)):
            if given:
                raise StartError(f"{flag} needs --style rich; {name} has plain lines")
    if name == "programmatic":
        return Programmatic(sys.stdin, sys.stdout, sys.stderr)
    if name == "simple":
        return Simple(sys.stdout)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise StartError("--style rich needs a terminal; take simple or programmatic")
    from .rich_style import Rich

    return Rich(multiline=multiline, mouse=mouse)
