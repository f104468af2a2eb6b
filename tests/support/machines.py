"""Recorded machines: what is broken on each, what must be found first, and all facts of it."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from danlu.cli.doctor.facts import Facts, from_json

FOLDER = Path(__file__).parents[1] / "cli" / "doctor" / "machines"


@dataclass(frozen=True)
class Machine:
    """`first` is the finding that names the cause: id, severity and command; None if all is well.

    `raw` are the facts as they were recorded.
    """

    name: str
    broken: str
    first: dict[str, str] | None
    raw: dict[str, Any]

    @property
    def facts(self) -> Facts:
        return from_json(json.dumps(self.raw))


@cache
def machines() -> tuple[Machine, ...]:
    return tuple(
        Machine(file.stem, read["broken"], read["first"], read["facts"])
        for file in sorted(FOLDER.glob("*.json"))
        for read in [json.loads(file.read_text(encoding="utf-8"))]
    )


def machine(name: str) -> Machine:
    (found,) = (one for one in machines() if one.name == name)
    return found
