"""Turns cumulative texts into what is new in them, for workers whose text is not append-only.

A stock FastChat worker sends the whole text in every frame and may still change its end: half a
character is U+FFFD until its last byte is there; for ChatGLM an ASCII `,` becomes `，` once a
Chinese character follows, and `[[训练时间]]` becomes `2023年` once it is whole (fastchat.md §4.3).
What may still change is held back until the next frame, or the last one.
"""

from typing import Any

HALF = "\ufffd"
CHANGING = frozenset(",!:;?")
MARKER = "[[训练时间]]"


class Deltas:
    """Feed it one answer's texts in their order; it gives back what is new and certain."""

    def __init__(self) -> None:
        self._sent = 0

    def feed(self, text: str, *, final: bool = False) -> str:
        """What can be sent now; with the last text, all of the rest.

        What was sent cannot be taken back: a text that changed before that place goes on after it.
        """
        end = len(text) if final else certain(text)
        new = text[self._sent : end]
        self._sent = max(self._sent, end)
        return new


def certain(text: str) -> int:
    """The length of the part of `text` that later tokens cannot change."""
    end = len(text)
    while end and text[end - 1] == HALF:
        end -= 1
    held = _begun_marker(text, end)
    if held:
        return end - held
    return end - 1 if end and text[end - 1] in CHANGING else end


def _begun_marker(text: str, end: int) -> int:
    """How many characters before `end` may be the beginning of the marker."""
    for length in range(min(len(MARKER) - 1, end), 0, -1):
        if text.startswith(MARKER[:length], end - length):
            return length
    return 0


class LogprobDeltas:
    """The same for cumulative log-probabilities, lists in the completions style."""

    def __init__(self) -> None:
        self._sent = 0

    def feed(self, logprobs: dict[str, Any] | None) -> dict[str, Any] | None:
        """The entries of the tokens that are new; None if there are none."""
        if not logprobs:
            return None
        start, self._sent = self._sent, len(logprobs.get("tokens", ()))
        if self._sent <= start:
            return None
        return {key: value[start:] for key, value in logprobs.items()}
