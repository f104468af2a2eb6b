"""What contenders are asked, what they answer, and who has which turn. Pure; standard library only,
because some contenders live in environments of their own.
"""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Prompt:
    """The same prompt twice: as the text that every tokenizer here makes these ids of."""

    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """So many streams at once, one a prompt, each of so many new tokens, chosen greedily."""

    prompts: tuple[Prompt, ...]
    new_tokens: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "Task":
        prompts = (Prompt(one["text"], tuple(one["ids"])) for one in plain["prompts"])
        return cls(tuple(prompts), plain["new_tokens"])


@dataclass(frozen=True, slots=True)
class Outcome:
    """One task done. Times are seconds since it was begun.

    `arrivals` has, for each stream, when each of its tokens (or of its chunks with text) came;
    `tokens` is the number of new tokens of all streams together, and `seconds` what all took.
    """

    arrivals: list[list[float]]
    tokens: int
    seconds: float

    @property
    def rate(self) -> float:
        """New tokens a second of all streams, the reading of the prompts included."""
        return self.tokens / self.seconds

    @property
    def decode_rate(self) -> float | None:
        """New tokens a second while every stream runs and none reads its prompt; None if never.

        From the last stream's first token to the first stream's last, which needs a time for each.
        """
        if not all(self.arrivals) or sum(map(len, self.arrivals)) < self.tokens:
            return None
        begin = max(times[0] for times in self.arrivals)
        end = min(times[-1] for times in self.arrivals)
        inside = sum(begin < time <= end for times in self.arrivals for time in times)
        return inside / (end - begin) if end > begin else None

    @property
    def firsts(self) -> list[float]:
        """Seconds to each stream's first token."""
        return [times[0] for times in self.arrivals if times]

    @property
    def per_token(self) -> list[float]:
        """Seconds a token after the first, of each stream."""
        share = self.tokens / max(1, len(self.arrivals))
        return [(times[-1] - times[0]) / (share - 1) for times in self.arrivals if len(times) > 1]

    @property
    def gaps(self) -> list[float]:
        """Seconds from each token to the stream's next."""
        return [b - a for times in self.arrivals for a, b in zip(times, times[1:], strict=False)]


@dataclass(slots=True)
class Standing:
    """What a contender has done so far. `missing` says why it does not take part."""

    name: str
    missing: str = ""
    peak: int = 0  # bytes resident at the highest, all processes together
    outcomes: dict[int, list[Outcome]] = field(default_factory=dict)  # by streams; one a round

    def add(self, streams: int, outcome: Outcome) -> None:
        self.outcomes.setdefault(streams, []).append(outcome)

    def rates(self, streams: int, *, decode: bool) -> list[float | None]:
        found = self.outcomes.get(streams, [])
        return [one.decode_rate if decode else one.rate for one in found]


@dataclass(frozen=True, slots=True)
class Ratio:
    """One contender's rate over another's in the same round: median and ends of the rounds'."""

    middle: float
    lowest: float
    highest: float


def turns(names: Sequence[str], rounds: int) -> Iterator[tuple[int, list[str]]]:
    """Who comes after whom in each round: everyone once, and nobody always before the same one."""
    for number in range(rounds):
        start = number % max(1, len(names))
        order = [*names[start:], *names[:start]]
        yield number, order[::-1] if number % 2 else order


def ratio(over: Sequence[float | None], under: Sequence[float | None]) -> Ratio | None:
    """The median of the rounds' own ratios, and their ends; None if no round has both."""
    pairs = zip(over, under, strict=False)
    each = [a / b for a, b in pairs if a is not None and b is not None and b > 0]
    return Ratio(statistics.median(each), min(each), max(each)) if each else None
