"""What the engine must show beside its contenders, and whether it did. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from .contest import Ratio, Standing, ratio


@dataclass(frozen=True, slots=True)
class Bar:
    """`over`'s tokens a second are to be at least `least` times `under`'s, with so many streams.

    `decode` compares while all streams run, else whole answers, the reading of prompts included.
    """

    over: str
    under: str
    streams: int
    least: float
    decode: bool


BARS = (
    *(Bar("engine", "bare", streams, 0.9, True) for streams in (1, 8, 16)),
    *(Bar("stack", "bare", streams, 0.85, True) for streams in (1, 8, 16)),
    *(Bar("engine", "bare:torch", streams, 0.9, True) for streams in (1, 8, 16)),
    *(Bar("stack", "bare:torch", streams, 0.85, True) for streams in (1, 8, 16)),
    Bar("engine", "fastchat", 16, 12.0, False),
    Bar("engine", "fastchat", 1, 2.0, False),
    Bar("engine", "generate", 16, 1.4, False),
    Bar("int8", "engine", 1, 1.8, True),
    Bar("int4", "engine", 1, 2.4, True),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bar and what was found; `found` None where it could not be measured, `why` says why."""

    bar: Bar
    found: Ratio | None
    why: str = ""

    @property
    def met(self) -> bool:
        return self.found is not None and self.found.middle >= self.bar.least


def verdicts(standings: Mapping[str, Standing], streams: set[int]) -> list[Verdict]:
    """Of every bar, also of those that nobody tried."""
    return [_verdict(bar, standings, streams) for bar in BARS]


def _verdict(bar: Bar, standings: Mapping[str, Standing], streams: set[int]) -> Verdict:
    for name in (bar.over, bar.under):
        if name not in standings:
            return Verdict(bar, None, f"{name} was left out")
        if standings[name].missing:
            return Verdict(bar, None, f"{name} is missing")
    if bar.streams not in streams:
        return Verdict(bar, None, f"{bar.streams} streams were left out")
    over, under = (
        standings[name].rates(bar.streams, decode=bar.decode) for name in (bar.over, bar.under)
    )
    found = ratio(over, under)
    return Verdict(bar, found, "" if found else "the streams never ran all at once")
