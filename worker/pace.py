"""How much of a step prompts may take while answers are being written. Pure: times are arguments.

Whoever reads an answer sees the steps; a step that reads a prompt beside it takes longer. It may
take `STRETCH` times as long as one that does not, by what steps took so far.
"""

STRETCH = 2.5
LEAST = 16  # tokens; a prompt is read on, however slowly
NEWEST = 0.2  # the weight of the newest measurement
FIRST_GUESS = 64  # tokens, before anything was measured


class Pace:
    """Owned by the engine's thread. `most` tokens of prompts go into one step at all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._step: float | None = None  # seconds of a step that reads no prompt
        self._token: float | None = None  # seconds that one more token of a prompt takes

    def budget(self, decoding: int) -> int:
        """Tokens of prompts for a step in which so many answers wait for their next token."""
        if decoding == 0:
            return self._most
        if self._step is None or self._token is None:
            return min(FIRST_GUESS, self._most)
        room = (STRETCH - 1) * self._step / self._token
        return int(min(max(room, LEAST), self._most))

    def took(self, seconds: float, *, decoding: int, prompt_tokens: int) -> None:
        """A step is over."""
        if prompt_tokens == 0:
            self._step = _blend(self._step, seconds)
        elif decoding == 0:
            self._token = _blend(self._token, seconds / prompt_tokens)
        elif self._step is not None:
            rest = max(seconds - self._step, seconds / 10)
            self._token = _blend(self._token, rest / prompt_tokens)


def _blend(old: float | None, new: float) -> float:
    return new if old is None else (1 - NEWEST) * old + NEWEST * new
