"""Files of records, read one by one; a broken record costs itself and no other."""

import json
from collections.abc import Iterator
from pathlib import Path

from ...adapters.errors import StartError
from .dialogue import Bad, Dialogue, Origin, Unusable, dialogue
from .formats import turns_in


def dialogues(file: Path) -> Iterator[Dialogue | Bad]:
    """What each record of the file says, in its order; StartError where it cannot be read."""
    try:
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as lines:
            number = 0
            for place, line in enumerate(lines, 1):
                if line.strip():
                    number += 1
                    yield _said(line, Origin(str(file), place, number))
    except OSError as exc:
        raise StartError(f"{file} cannot be read: {exc.strerror}") from exc


def _said(line: str, origin: Origin) -> Dialogue | Bad:
    try:
        turns, notes = turns_in(json.loads(line))
        return dialogue(turns, origin, notes)
    except Unusable as exc:
        return Bad(origin, exc.kind, str(exc))
    except ValueError as exc:
        return Bad(origin, "no JSON", str(exc))
