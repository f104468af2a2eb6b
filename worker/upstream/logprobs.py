"""Log-probabilities of an upstream, a chat's or a completion's, in the seam's form. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ...adapters.wire.generation import Logprobs

LEAST = -9999.0  # JSON has no infinity; OpenAI's word for "never"


class Entry(NamedTuple):
    """One token; the first of an echoed prompt has no probability."""

    token: str
    logprob: float | None
    top: dict[str, float] | None


class LogprobReader:
    """Keeps the place in the text: an upstream's own offsets may begin anew with every event.

    `top` is the number of alternatives that were asked for; some upstreams add the chosen token.
    """

    def __init__(self, top: int) -> None:
        self._top, self._offset = top, 0

    def entries(self, raw: Mapping[str, Any]) -> list[Entry]:
        """The tokens of one event, whichever form they have."""
        if isinstance(content := raw.get("content"), list):
            return [self._of_chat(one) for one in content]
        tokens, values = raw["tokens"], raw["token_logprobs"]
        tops = raw.get("top_logprobs") or [None] * len(tokens)
        return [
            Entry(token, _finite(value), None if value is None else self._best(top or {}))
            for token, value, top in zip(tokens, values, tops, strict=True)
        ]

    def take(self, entries: Sequence[Entry]) -> Logprobs | None:
        """Their form on the wire; None if there are none."""
        if not entries:
            return None
        offsets = []
        for entry in entries:
            offsets.append(self._offset)
            self._offset += len(entry.token)
        return Logprobs(
            text_offset=offsets,
            tokens=[e.token for e in entries],
            token_logprobs=[e.logprob for e in entries],
            top_logprobs=[e.top for e in entries],
        )

    def _of_chat(self, one: Mapping[str, Any]) -> Entry:
        tops: dict[str, float] = {}
        for other in one.get("top_logprobs") or ():  # the more probable of two spelled alike
            tops.setdefault(other["token"], other["logprob"])
        return Entry(one["token"], _finite(one["logprob"]), self._best(tops))

    def _best(self, tops: Mapping[str, float]) -> dict[str, float]:
        ranked = sorted(tops.items(), key=lambda item: -item[1])[: self._top]
        return {token: max(value, LEAST) for token, value in ranked}


def _finite(value: float | None) -> float | None:
    return None if value is None else max(float(value), LEAST)
