"""What the samples of a run say together: rates, and percentiles of the waiting. Pure."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .sample import Sample


@dataclass(frozen=True, slots=True)
class Spread:
    """How one duration was distributed, in seconds; nan where it was never measured."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    highest: float


@dataclass(frozen=True, slots=True)
class Summary:
    """One run. Tokens and rates are those of the answers that came whole.

    `counted` says how output tokens were counted: "usage", the server's own count, or "chunks"
    where a server gave none for at least one answer. `chunk_tokens` is the number of tokens that
    came in one chunk, on average: above one, gaps are those between chunks and no longer between
    tokens.
    """

    seconds: float
    ok: int
    failed: int
    unfinished: int
    prompt_tokens: int
    output_tokens: int
    counted: str
    chunk_tokens: float
    finishes: dict[str, int]
    errors: dict[str, int]
    first: Spread
    per_token: Spread
    gap: Spread
    whole: Spread

    @property
    def output_rate(self) -> float:
        """Output tokens a second, of all streams together."""
        return self.output_tokens / self.seconds if self.seconds else 0.0

    @property
    def total_rate(self) -> float:
        """Tokens of prompts and answers a second."""
        tokens = self.prompt_tokens + self.output_tokens
        return tokens / self.seconds if self.seconds else 0.0

    @property
    def request_rate(self) -> float:
        return self.ok / self.seconds if self.seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """Everything, the rates included; a duration that was never measured is null."""
        rates = {
            "output_tokens_per_second": self.output_rate,
            "total_tokens_per_second": self.total_rate,
            "requests_per_second": self.request_rate,
        }
        plain: dict[str, Any] = _without_nan({**asdict(self), **rates})
        return plain


def summarise(samples: Sequence[Sample], seconds: float) -> Summary:
    """`seconds` is the time that the whole run took."""
    good = [sample for sample in samples if sample.ok]
    usages = [sample.usage for sample in good if sample.usage is not None]
    output = sum(sample.output_tokens for sample in good)
    chunks = sum(len(sample.texts) for sample in good)
    return Summary(
        seconds=seconds,
        ok=len(good),
        failed=sum(bool(sample.error) for sample in samples),
        unfinished=sum(sample.ended is None for sample in samples),
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        output_tokens=output,
        counted="usage" if len(usages) == len(good) else "chunks",
        chunk_tokens=output / chunks if chunks else 0.0,
        finishes=dict(Counter(sample.finish for sample in good)),
        errors=dict(Counter(sample.error for sample in samples if sample.error)),
        first=spread(sample.first for sample in good),
        per_token=spread(sample.per_token for sample in good),
        gap=spread(gap for sample in good for gap in sample.gaps),
        whole=spread(sample.ended - sample.due for sample in good if sample.ended is not None),
    )


def spread(values: Iterable[float | None]) -> Spread:
    known = sorted(value for value in values if value is not None)
    if not known:
        return Spread(0, math.nan, math.nan, math.nan, math.nan, math.nan)
    p50, p95, p99 = (percentile(known, percent) for percent in (50, 95, 99))
    return Spread(len(known), sum(known) / len(known), p50, p95, p99, known[-1])


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Between the two nearest of ascending values, as numpy's default; there must be one."""
    place = (len(ordered) - 1) * percent / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
