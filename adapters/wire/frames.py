"""FastChat's stream framing: JSON objects, each ended by one zero byte. Knows no field."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import WorkerLost

END = b"\0"


def encode(frame: Mapping[str, Any]) -> bytes:
    """One frame as FastChat writes it: ASCII JSON and a zero byte."""
    return json.dumps(frame).encode() + END


class Decoder:
    """Feed it bytes as they arrive, cut anywhere; it gives back every frame that is whole."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def rest(self) -> bytes:
        """The bytes of a frame that has not ended yet."""
        return self._rest

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The frames that `data` completes; raises WorkerLost for one that is no JSON object."""
        *whole, self._rest = (self._rest + data).split(END)
        for raw in whole:
            if raw:
                yield _object(raw)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        frame = json.loads(raw)
    except ValueError as exc:
        raise WorkerLost(f"the worker sent a frame that is no JSON: {raw[:80]!r}") from exc
    if not isinstance(frame, dict):
        raise WorkerLost(f"the worker sent a frame that is no object: {raw[:80]!r}")
    return frame
