"""What a worker's frames say, one piece at a time, whichever of the two kinds of frames it sends.

Ours carry what is new (`delta`), stock FastChat's the whole text so far. Pure: no socket.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import SOMEBODY, WorkerLost
from .deltas import Deltas, LogprobDeltas

LEAST = -9999.0  # OpenAI's log-probability of what cannot be; JSON has no infinity


@dataclass(frozen=True, slots=True)
class Piece:
    """New text of an answer. `whole` is all of it, where the worker says so; counts are totals.

    `prompt_logprobs` come once, as the worker tells them.
    """

    text: str
    whole: str | None = None
    logprobs: dict[str, Any] | None = None
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_logprobs: list[Any] | None = None


class Frames(Protocol):
    """Reads one answer's frames in their order."""

    def piece(self, frame: Mapping[str, Any]) -> Piece:
        """Raises WorkerLost for a frame without a text, and for other fields of the wrong kind
        AttributeError, TypeError or ValueError."""
        ...

    def end(self) -> Piece | None:
        """What the end of the stream adds; raises WorkerLost if the answer is not complete."""
        ...


class NewFrames:
    """Frames of ours, asked for with `delta`."""

    def __init__(self) -> None:
        self._finished = False

    def piece(self, frame: Mapping[str, Any]) -> Piece:
        reason = frame.get("finish_reason")
        self._finished = self._finished or reason is not None
        return _piece(frame, _text(frame, "delta"), None, frame.get("logprobs"))

    def end(self) -> None:
        if not self._finished:
            raise WorkerLost("ended the stream in the middle of an answer", peer=SOMEBODY)


class WholeFrames:
    """Frames of FastChat's, which repeat the text; some workers of it name no finish_reason."""

    def __init__(self) -> None:
        self._deltas, self._logprobs = Deltas(), LogprobDeltas()
        self._last: Piece | None = None
        self._names_reasons = False

    def piece(self, frame: Mapping[str, Any]) -> Piece:
        self._names_reasons = self._names_reasons or "finish_reason" in frame
        whole = _text(frame, "text")
        new = self._deltas.feed(whole, final=frame.get("finish_reason") is not None)
        self._last = _piece(frame, new, whole, self._logprobs.feed(frame.get("logprobs")))
        return self._last

    def end(self) -> Piece | None:
        last = self._last
        if last is None:
            raise WorkerLost("ended the stream without a frame", peer=SOMEBODY)
        if last.finish_reason is not None:
            return None
        if self._names_reasons:
            raise WorkerLost("ended the stream in the middle of an answer", peer=SOMEBODY)
        assert last.whole is not None, "a frame of FastChat's has the whole text"
        rest = self._deltas.feed(last.whole, final=True)
        return Piece(rest, last.whole, None, "stop", last.prompt_tokens, last.completion_tokens)


def _text(frame: Mapping[str, Any], key: str) -> str:
    text = frame.get(key)
    if not isinstance(text, str):
        raise WorkerLost(f"sent a frame without {key!r}", peer=SOMEBODY, why=str(frame)[:80])
    return text


def _piece(
    frame: Mapping[str, Any], new: str, whole: str | None, logprobs: dict[str, Any] | None
) -> Piece:
    reason, usage = frame.get("finish_reason"), frame.get("usage") or {}
    asked, said = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    if not (isinstance(reason, str | None) and isinstance(asked, int) and isinstance(said, int)):
        raise TypeError(f"a finish_reason {reason!r} and tokens {asked!r}, {said!r}")
    return Piece(
        new,
        whole,
        _finite(logprobs) if logprobs else None,
        reason,
        asked,
        said,
        frame.get("prompt_logprobs"),
    )


def _finite(logprobs: dict[str, Any]) -> dict[str, Any]:
    values = [None if v is None else max(v, LEAST) for v in logprobs.get("token_logprobs", ())]
    tops = [
        {token: max(v, LEAST) for token, v in (top or {}).items()}
        for top in logprobs.get("top_logprobs") or ()
    ]
    return {**logprobs, "token_logprobs": values, "top_logprobs": tops}
