"""Bars and tables: met, not met, missing, left out; and the limit's arithmetic."""

import pytest

from benchmarks.bars import BARS, Bar, verdicts
from benchmarks.contest import Outcome, Standing
from benchmarks.engine import precision_of
from benchmarks.limits import Reads
from benchmarks.report import bars, memory, rates, table, waiting


def a_standing(name: str, *rates: float, streams: int = 1, missing: str = "") -> Standing:
    """One stream's worth of evenly spaced tokens a round."""
    standing = Standing(name, missing)
    for rate in rates:
        times = [number / rate for number in range(1, 11)]
        standing.add(streams, Outcome([times] * streams, 10 * streams, times[-1]))
    return standing


def found_for(bar: Bar, *standings: Standing) -> tuple[bool, str]:
    (verdict,) = (one for one in verdicts({s.name: s for s in standings}, {1}) if one.bar == bar)
    return verdict.met, verdict.why


ENGINE_BARE = BARS[0]


@pytest.mark.parametrize(
    ("engine", "bare", "met"),
    [
        ((9.0, 9.0, 9.0), (10.0, 10.0, 10.0), True),
        ((8.9, 8.9, 8.9), (10.0, 10.0, 10.0), False),
        ((1.0, 9.5, 9.5), (10.0, 10.0, 10.0), True),  # one disturbed round
    ],
)
def test_a_bar_is_met_by_the_median_of_the_rounds(
    engine: tuple[float, ...], bare: tuple[float, ...], met: bool
) -> None:
    found = found_for(ENGINE_BARE, a_standing("engine", *engine), a_standing("bare", *bare))
    assert found == (met, "")


def test_a_bar_that_could_not_be_tried_is_not_met_and_says_why() -> None:
    engine = a_standing("engine", 9.0)
    assert found_for(ENGINE_BARE, engine) == (False, "bare was left out")
    gone = a_standing("bare", missing="no such thing")
    assert found_for(ENGINE_BARE, engine, gone) == (False, "bare is missing")
    assert found_for(BARS[1], engine, a_standing("bare", 9.0)) == (
        False,
        "8 streams were left out",
    )


def test_a_missing_contender_is_in_the_table_with_the_reason() -> None:
    standings = {
        "engine": a_standing("engine", 5.0),
        "bare": a_standing("bare", 10.0),
        "llama": a_standing("llama", missing="llama-cpp-python is not here"),
    }
    lines = rates(standings, [1], "bare")
    assert any("| llama | – | – | llama-cpp-python is not here |" in line for line in lines)
    assert any("| engine | 5.0 (×0.50) | 5.0 (×0.50) | yes |" in line for line in lines)
    shown = "\n".join(bars(verdicts(standings, {1})))
    row = "| engine / bare, 1 streams, while all run | 0.50 (0.50 – 0.50) | ≥ 0.9 | no |"
    assert row in shown


def test_waiting_is_shown_in_milliseconds_and_memory_of_who_has_any() -> None:
    standing = a_standing("bare", 10.0)
    standing.peak = 3 * 2**29
    standings = {"bare": standing, "none": a_standing("none", missing="x")}
    (row,) = waiting(standings, [1])[2:-1]
    assert row == (
        "| bare | 1 | 100.0 / 100.0 / 100.0 | 100.0 / 100.0 / 100.0 | 100.0 / 100.0 / 100.0 |"
    )
    assert memory(standings)[2:-1] == ["| bare | 1.50 |"]


def test_a_table_is_markdown() -> None:
    assert table(["a", "b"], [["1", "2"]]) == ["| a | b |", "| --- | --- |", "| 1 | 2 |", ""]


def test_a_step_reads_the_weights_once_and_the_cache_of_every_stream() -> None:
    reads = Reads(weights=1000, kv=10)
    assert reads.bytes_of_step("bfloat16", streams=4, context=5, cache=2.0) == 2000 + 400
    assert reads.bytes_of_step("int4", streams=1, context=0, cache=2.0) == 500
    assert reads.flops(3) == 6000


@pytest.mark.parametrize(
    ("name", "precision"),
    [("bare", "bfloat16"), ("int4", "int4"), ("llama", "bfloat16"), ("llama:q8_0", "q8_0")],
)
def test_a_contenders_name_tells_its_precision(name: str, precision: str) -> None:
    assert precision_of(name, "bfloat16") == precision
