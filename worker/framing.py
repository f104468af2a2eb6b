"""Pieces into frames: cumulative, as FastChat's, or only what is new. Pure: no socket, no loop."""

from typing import Any

from ..adapters.wire.generation import Logprobs, PromptLogprobs, Usage
from .job import FinishReason, Piece

NO_LOGPROBS = Logprobs(text_offset=[], tokens=[], token_logprobs=[], top_logprobs=[])


class Framer:
    """The frames of one sequence.

    A frame carries the whole text so far, or with `delta` what came since the last frame. Every
    piece makes a frame, or with `whole` only the last one does, and it carries everything. What the
    model made of the prompt is in the first frame alone: it is long.
    """

    def __init__(self, *, delta: bool = False, logprobs: bool = False, whole: bool = False) -> None:
        self.usage = Usage()
        self.finish_reason: FinishReason | None = None
        self._delta = delta
        self._whole = whole
        self._text = ""
        self._logprobs = NO_LOGPROBS if logprobs else None
        self._of_prompt: PromptLogprobs | None = None  # in no frame yet

    def take(self, piece: Piece) -> dict[str, Any] | None:
        """The frame that `piece` makes, if it makes one."""
        self.usage, self.finish_reason = piece.usage, piece.finish_reason
        self._text += piece.text
        if self._logprobs is not None and piece.logprobs is not None:
            self._logprobs = _joined(self._logprobs, piece.logprobs)
        self._of_prompt = piece.prompt_logprobs or self._of_prompt
        if self._whole and self.finish_reason is None:
            return None
        return self._frame()

    def _frame(self) -> dict[str, Any]:
        frame: dict[str, Any] = {
            "delta" if self._delta else "text": self._text,
            "error_code": 0,
            "usage": self.usage.model_dump(),
            "finish_reason": self.finish_reason,
        }
        if self._logprobs is not None:
            frame["logprobs"] = self._logprobs.model_dump()
        if self._of_prompt is not None:
            frame["prompt_logprobs"] = _dumped(self._of_prompt)
            self._of_prompt = None
        if self._delta:
            self._text = ""
            self._logprobs = NO_LOGPROBS if self._logprobs is not None else None
        return frame


def _dumped(places: PromptLogprobs) -> list[dict[str, Any] | None]:
    return [
        None if place is None else {str(token): told.model_dump() for token, told in place.items()}
        for place in places
    ]


def _joined(one: Logprobs, other: Logprobs) -> Logprobs:
    return Logprobs(
        text_offset=one.text_offset + other.text_offset,
        tokens=one.tokens + other.tokens,
        token_logprobs=one.token_logprobs + other.token_logprobs,
        top_logprobs=one.top_logprobs + other.top_logprobs,
    )
