"""What samples say together: counts, rates and percentiles."""

import json
import math

import pytest
from hypothesis import given, strategies as st

from danlu.adapters.wire.generation import Usage
from danlu.cli.bench.sample import Sample
from danlu.cli.bench.summary import percentile, spread, summarise


def a_sample(
    *texts: float, due: float = 0.0, tokens: int | None = None, error: str = "", ended: bool = True
) -> Sample:
    """Of a prompt of 10 tokens; it ends with its last text."""
    usage = None if tokens is None else Usage(prompt_tokens=10, completion_tokens=tokens)
    end = (texts[-1] if texts else due) if ended else None
    return Sample(due, list(texts), end, usage, "" if error else "length", error)


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1.0), (50, 2.5), (95, 3.85), (99, 3.97), (100, 4.0)]
)
def test_a_percentile_lies_between_its_two_nearest_values(percent: float, value: float) -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], percent) == pytest.approx(value)


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_percentiles_rise_and_stay_within_what_was_measured(values: list[float]) -> None:
    found = spread(values)
    assert min(values) <= found.p50 <= found.p95 <= found.p99 <= found.highest == max(values)


def test_the_first_text_is_waited_for_from_when_the_request_was_due() -> None:
    assert a_sample(3.0, 4.0, due=1.0).first == 2.0


def test_a_token_takes_what_comes_after_the_first_text_by_the_servers_count() -> None:
    assert a_sample(1.0, 2.0, 5.0, tokens=5).per_token == 1.0


def test_one_token_has_no_speed_and_no_text_no_first() -> None:
    one, none = a_sample(1.0, tokens=1), a_sample(tokens=0)
    assert one.per_token is None and one.gaps == []
    assert none.first is None


def test_rates_count_the_answers_that_came_whole() -> None:
    samples = [
        a_sample(1.0, 2.0, tokens=4),
        a_sample(1.0, tokens=2),
        a_sample(1.0, tokens=99, error="boom"),
        a_sample(1.0, tokens=99, ended=False),
    ]
    found = summarise(samples, seconds=2.0)
    assert (found.ok, found.failed, found.unfinished) == (2, 1, 1)
    assert (found.output_tokens, found.prompt_tokens) == (6, 20)
    assert (found.output_rate, found.total_rate, found.request_rate) == (3.0, 13.0, 1.0)
    assert (found.errors, found.finishes) == ({"boom": 1}, {"length": 2})
    assert (found.counted, found.chunk_tokens) == ("usage", 2.0)


def test_chunks_are_counted_only_where_a_server_counts_nothing_and_it_is_said() -> None:
    found = summarise([a_sample(1.0, 2.0, 3.0), a_sample(1.0, tokens=7)], seconds=1.0)
    assert (found.counted, found.output_tokens) == ("chunks", 10)


def test_what_was_never_measured_is_nan_and_null_in_json() -> None:
    found = summarise([], seconds=0.0)
    assert math.isnan(found.first.p99) and found.output_rate == 0.0
    plain = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert plain["first"]["p99"] is None
    assert plain["output_tokens_per_second"] == 0.0
