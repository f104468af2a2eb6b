"""How much of a step prompts and drafts may take beside answers. Pure: times are arguments.

Whoever reads an answer sees the steps; a step that reads a prompt beside it takes longer. It may
take `STRETCH` times as long as one that does not, by what steps took so far; where more wait for a
first token than for a next one, it may take as many times longer. A draft makes a step longer for
everybody, and spares one answer some steps.
"""

STRETCH = 2.5
LEAST = 16  # tokens; a prompt is read on, however slowly
NEWEST = 0.2  # the weight of the newest measurement
FIRST_GUESS = 64  # tokens, before anything was measured
FIRST_PRICE = 1 / 8  # of a step for a drafted token, likewise
LEAST_PRICE = 1 / 32  # a step that happened to be quick makes nothing free
FORGOTTEN = 0.005  # of a drafted token's time, with each step that tries none: it may be over


class Pace:
    """Owned by the engine's thread. At most `most` tokens of prompts go into one step beside
    answers, and `alone` into one without any."""

    def __init__(self, most: int, alone: int) -> None:
        self._most, self._alone = most, alone
        self._step: float | None = None  # seconds of a step that reads no prompt
        self._token: float | None = None  # seconds that one more token of a prompt takes
        self._drafted: float | None = None  # seconds that one more token of a draft takes

    def budget(self, decoding: int, reading: int = 1) -> int:
        """Tokens of prompts for a step in which so many answers wait for their next token, and so
        many prompts for their first."""
        if decoding == 0:
            return self._alone
        many = max(1, reading / decoding)
        if self._step is None or self._token is None:
            return int(min(FIRST_GUESS * many, self._most))
        room = (STRETCH - 1) * many * self._step / self._token
        return int(min(max(room, LEAST), self._most))

    def price(self, decoding: int) -> float:
        """What drafting a token costs: the tokens that all answers could get in its time."""
        if self._step is None or self._drafted is None:
            return FIRST_PRICE * decoding
        return max(self._drafted / self._step, LEAST_PRICE) * decoding

    def took(self, seconds: float, *, decoding: int, prompt_tokens: int, drafted: int = 0) -> None:
        """A step is over, in which so many tokens more went through the model."""
        if prompt_tokens == 0 and drafted == 0:
            self._step = _blend(self._step, seconds)
            if self._drafted is not None:
                self._drafted *= 1 - FORGOTTEN
        elif prompt_tokens == 0:
            if self._step is not None:
                rest = min(max(seconds - self._step, 0.0), self._step * drafted)
                before = FIRST_PRICE * self._step if self._drafted is None else self._drafted
                self._drafted = _blend(before, rest / drafted)
        elif decoding == 0:
            self._token = _blend(self._token, seconds / prompt_tokens)
        elif self._step is not None:
            rest = max(seconds - self._step, seconds / 10)
            self._token = _blend(self._token, rest / (prompt_tokens + drafted))


def _blend(old: float | None, new: float) -> float:
    return new if old is None else (1 - NEWEST) * old + NEWEST * new
