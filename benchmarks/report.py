"""A contest's result as Markdown: bars first, then rates, waiting, memory, and the limit. Pure."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from danlu.cli.bench.summary import Spread, spread

from .bars import Verdict
from .contest import Standing, ratio

MS = 1000.0
GIB = 2**30
NONE = "–"

Rows = list[str]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Rows:
    """A Markdown table, and an empty line after it."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]


def bars(found: Sequence[Verdict]) -> Rows:
    rows = []
    for verdict in found:
        bar = verdict.bar
        manner = "while all run" if bar.decode else "whole answers"
        name = f"{bar.over} / {bar.under}, {bar.streams} streams, {manner}"
        rows.append([name, _ratio(verdict), f"≥ {bar.least:g}", _word(verdict)])
    return table(["must show", "median ratio (lowest – highest)", "bar", "met"], rows)


def _ratio(verdict: Verdict) -> str:
    found = verdict.found
    return f"{found.middle:.2f} ({found.lowest:.2f} – {found.highest:.2f})" if found else NONE


def _word(verdict: Verdict) -> str:
    return verdict.why or ("yes" if verdict.met else "no")


def rates(standings: Mapping[str, Standing], streams: Sequence[int], against: str) -> Rows:
    """Tokens a second of everyone, and as a share of `against`'s in the same rounds."""
    rows = []
    for name, standing in standings.items():
        row = [name]
        for count in streams:
            for decode in (False, True):
                found = [r for r in standing.rates(count, decode=decode) if r is not None]
                share = ratio(
                    standing.rates(count, decode=decode), _of(standings, against, count, decode)
                )
                row.append(_rate(found, share.middle if share and name != against else None))
        rows.append([*row, standing.missing or "yes"])
    heads = [f"{count} {how}" for count in streams for how in ("whole", "all run")]
    return table(["tokens/s with streams", *heads, "took part"], rows)


def _of(
    standings: Mapping[str, Standing], name: str, count: int, decode: bool
) -> list[float | None]:
    return standings[name].rates(count, decode=decode) if name in standings else []


def _rate(found: Sequence[float], share: float | None) -> str:
    if not found:
        return NONE
    middle = f"{statistics.median(found):.1f}"
    return middle if share is None else f"{middle} (×{share:.2f})"


def waiting(standings: Mapping[str, Standing], streams: Sequence[int]) -> Rows:
    """TTFT, TPOT and ITL of all rounds together, in milliseconds."""
    rows = []
    for name, standing in standings.items():
        for count in streams:
            outcomes = standing.outcomes.get(count, [])
            if not outcomes:
                continue
            kinds = (
                [v for one in outcomes for v in one.firsts],
                [v for one in outcomes for v in one.per_token],
                [v for one in outcomes for v in one.gaps],
            )
            rows.append([name, str(count), *(percentiles(spread(kind)) for kind in kinds)])
    head = ["ms, p50 / p95 / p99", "streams", "TTFT", "TPOT", "ITL"]
    return table(head, rows)


def percentiles(found: Spread) -> str:
    if not found.count:
        return NONE
    return " / ".join(f"{value * MS:.1f}" for value in (found.p50, found.p95, found.p99))


def memory(standings: Mapping[str, Standing]) -> Rows:
    found = [(name, one.peak) for name, one in standings.items() if one.peak]
    rows = [[name, f"{peak / GIB:.2f}"] for name, peak in found]
    return table(["peak memory", "GiB, all processes of it"], rows)
