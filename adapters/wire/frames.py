"""FastChat's stream framing: JSON objects, each ended by one zero byte. Knows no field."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import SOMEBODY, WorkerLost

END = b"\0"
MAX_FRAME = 64 * 1024 * 1024  # bytes; a long text with log-probabilities is a few MiB


def encode(frame: Mapping[str, Any]) -> bytes:
    """One frame as FastChat writes it: ASCII JSON and a zero byte."""
    return json.dumps(frame).encode() + END


class Decoder:
    """Feed it bytes as they arrive, cut anywhere; it gives back every frame that is whole."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []  # joined once, when its end is there
        self._size = 0

    @property
    def rest(self) -> bytes:
        """The bytes of a frame that has not ended yet."""
        return b"".join(self._begun)

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The frames that `data` completes.

        Raises WorkerLost for one that is no JSON object, or that does not end.
        """
        head, *tail = data.split(END)
        self._keep(head)
        for part in tail:
            raw, self._begun, self._size = self.rest, [], 0
            self._keep(part)
            if raw:
                yield _object(raw)

    def _keep(self, part: bytes) -> None:
        if part:
            self._begun.append(part)
            self._size += len(part)
        if self._size > MAX_FRAME:
            raise WorkerLost(f"sent a frame that is larger than {MAX_FRAME} bytes", peer=SOMEBODY)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        frame = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise WorkerLost("sent a frame that is no JSON", peer=SOMEBODY, why=repr(raw[:80])) from exc
    if not isinstance(frame, dict):
        raise WorkerLost("sent a frame that is no object", peer=SOMEBODY, why=repr(raw[:80]))
    return frame
