"""What contenders tell of a pass over samples, and all passes as Markdown. Pure."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .contest import Ratio, Standing, ratio
from .report import GIB, NONE, Rows, table

# What is set beside what, wherever both took part.
PAIRS = (
    ("danlu", "trainer:max"),
    ("danlu", "trainer:dynamic"),
    ("danlu:packed", "trainer:max"),
    ("danlu:packed", "trainer:dynamic"),
    ("danlu:packed", "danlu"),
    ("danlu:max", "trainer:max"),
    ("danlu:x2", "danlu"),
)


@dataclass(frozen=True, slots=True)
class Passed:
    """One pass: every sample was learned from once. Tokens are the samples' own, without padding.

    `busy` are the processors' seconds, of all processes together. `loss` is, after the pass, that
    of samples that were not learned from; `loaded` the bytes that were resident at the highest
    before the first step ever.
    """

    steps: int
    tokens: int
    trained: int
    seconds: float
    busy: float
    loss: float
    loaded: int

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds

    @property
    def frugality(self) -> float:
        """Tokens for a second of a processor: what others on the machine hardly change."""
        return self.tokens / self.busy

    @property
    def trained_rate(self) -> float:
        return self.trained / self.seconds


@dataclass(slots=True)
class Trained:
    """A contender's passes, one a round."""

    standing: Standing
    passes: list[Passed] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        return [one.rate for one in self.passes]

    @property
    def frugalities(self) -> list[float]:
        return [one.frugality for one in self.passes]


def speeds(found: Mapping[str, Trained]) -> Rows:
    head = ["contender", "tokens/s", "trained tokens/s", "steps", "loss after", "GiB, loaded"]
    rows = (_row(name, one) for name, one in found.items())
    return table([*head, "GiB at the most", "took part"], rows)


def _row(name: str, trained: Trained) -> list[str]:
    passes, standing = trained.passes, trained.standing
    if not passes:
        return [name, *[NONE] * 6, standing.missing or "no"]
    steps = statistics.median(one.steps for one in passes)
    return [
        name,
        _spread(trained.rates, ".0f"),
        f"{statistics.median(one.trained_rate for one in passes):.0f}",
        f"{steps:g}",
        f"{statistics.mean(one.loss for one in passes):.4f}",
        f"{max(one.loaded for one in passes) / GIB:.2f}",
        f"{standing.peak / GIB:.2f}",
        standing.missing or "yes",
    ]


def _spread(numbers: Sequence[float], form: str) -> str:
    ends = f"({min(numbers):{form}} – {max(numbers):{form}})"
    return f"{statistics.median(numbers):{form}} {ends}"


def ratios(found: Mapping[str, Trained]) -> Rows:
    """Of each round's two rates; of pairs that no round has, nothing."""
    rows = []
    for over, under in PAIRS:
        if over in found and under in found:
            fast = ratio(found[over].rates, found[under].rates)
            frugal = ratio(found[over].frugalities, found[under].frugalities)
            if fast and frugal:
                rows.append([f"{over} / {under}", _ends(fast), _ends(frugal)])
    return table(["median ratio (lowest – highest)", "tokens/s", "for a processor's second"], rows)


def _ends(one: Ratio) -> str:
    return f"{one.middle:.2f} ({one.lowest:.2f} – {one.highest:.2f})"


def told_of(lengths: Iterable[int], longest: int) -> str:
    """What the samples of a round are like, in a sentence."""
    each = sorted(lengths)
    padding = 1 - sum(each) / (longest * len(each))
    return (
        f"The first round's samples have {each[0]} to {each[-1]} tokens, in the median "
        f"{statistics.median(each):g}; padded to {longest}, {padding:.0%} of it all is padding."
    )
