"""What happened in a training as JSON objects, a line each, and back from a file. Pure but reading.

    {"kind": "step", "step": 1, "loss": 2.05, …}
    {"kind": "evaluation", "step": 20, "loss": 1.7, …}
    {"kind": "checkpoint", "step": 20, "directory": "checkpoint-20"}

A number that is not finite is null: JSON has none.
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..progress import Evaluated, Measured

Line = dict[str, Any]


def of_step(what: Measured) -> Line:
    return {"kind": "step", **_finite(asdict(what))}


def of_evaluation(what: Evaluated) -> Line:
    return {"kind": "evaluation", **_finite(asdict(what))}


def of_checkpoint(step: int, directory: str) -> Line:
    return {"kind": "checkpoint", "step": step, "directory": directory}


def told(line: Line) -> str:
    return json.dumps(line, ensure_ascii=False) + "\n"


def until(lines: Iterable[str], step: int) -> Iterator[Line]:
    """The whole lines among `lines` that are not later than `step`.

    A process that was killed may have left half a line, and lines of steps that no checkpoint has.
    """
    for text in lines:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and line.get("step", 0) <= step:
            yield line


def read(path: Path, step: int) -> list[Line]:
    """What `path` tells up to `step`; nothing where it is not there."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", errors="replace") as file:
        return list(until(file, step))


def _finite(line: Line) -> Line:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in line.items()
    }
