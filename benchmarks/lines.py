"""How the referee and a contender's process talk: a JSON object a line, each way. Standard library.

Libraries print what they like on standard output, so the answers go where that pointed to at first,
and standard output itself is turned to standard error.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TextIO, TypeVar

from .contest import Outcome, Task


class Missing(Exception):
    """A contender that cannot take part here; `str()` says why in one sentence."""


class Loaded(Protocol):
    """Whatever takes part in a contest, ready."""

    def peak(self) -> int:
        """Bytes resident at the highest, of all processes that belong to it."""
        ...

    def close(self) -> None: ...


class Contender(Loaded, Protocol):
    """One way to serve one model, loaded."""

    def run(self, task: Task) -> Outcome: ...


L = TypeVar("L", bound=Loaded)


def serve(load: Callable[[], Contender]) -> None:
    """Load, say so, and do one task after the other until the referee closes the line."""

    def reply(contender: Contender, asked: dict[str, Any]) -> dict[str, Any]:
        return asdict(contender.run(Task.from_json(asked)))

    converse(load, reply)


def converse(load: Callable[[], L], reply: Callable[[L, dict[str, Any]], dict[str, Any]]) -> None:
    """The same for contests of any kind: `reply` makes an object of each that is heard."""
    said = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        contender = load()
    except Missing as exc:
        say(said, missing=str(exc))
        return
    try:
        say(said, ready=True)
        for line in sys.stdin:
            words = reply(contender, json.loads(line))
            say(said, **words, peak=contender.peak())
    finally:
        contender.close()


def say(said: TextIO, **words: Any) -> None:
    said.write(json.dumps(words) + "\n")
    said.flush()


def resident(pid: int | str = "self") -> int:
    """Bytes that a process had resident at the highest; 0 once it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(found[0]) * 1024 if found else 0
