"""Turns, rates and ratios of a contest."""

import pytest
from hypothesis import given, strategies as st

from benchmarks.contest import Outcome, Prompt, Task, ratio, turns


def test_an_outcomes_rates_count_whole_answers_and_what_ran_together() -> None:
    outcome = Outcome([[1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 5.0]], tokens=8, seconds=5.0)
    assert outcome.rate == 8 / 5
    assert outcome.decode_rate == 2.0  # from 2.0 to 4.0: two tokens of each
    assert outcome.firsts == [1.0, 2.0]
    assert outcome.per_token == [1.0, 1.0]
    assert outcome.gaps == [1.0] * 6


@pytest.mark.parametrize(
    ("arrivals", "tokens"),
    [
        ([[1.0, 2.0], [3.0, 4.0]], 4),  # one after the other
        ([[1.0, 2.0], []], 2),
        ([[1.0, 2.0], [1.0, 2.0]], 8),  # several tokens a chunk: no time for each
    ],
)
def test_streams_that_never_ran_together_have_no_decode_rate(
    arrivals: list[list[float]], tokens: int
) -> None:
    assert Outcome(arrivals, tokens, 9.0).decode_rate is None


@given(st.integers(1, 6), st.integers(1, 12))
def test_everyone_has_one_turn_a_round(count: int, rounds: int) -> None:
    names = [f"n{i}" for i in range(count)]
    found = list(turns(names, rounds))
    assert [number for number, _ in found] == list(range(rounds))
    assert all(sorted(order) == names for _, order in found)


def test_nobody_always_goes_first_or_always_follows_the_same_one() -> None:
    orders = [order for _, order in turns(["a", "b", "c"], 6)]
    assert {order[0] for order in orders} == {"a", "b", "c"}
    assert {order[order.index("b") - 1] for order in orders if order[0] != "b"} == {"a", "c"}


def test_a_ratio_is_of_rounds_that_have_both() -> None:
    found = ratio([2.0, 9.0, None, 8.0], [1.0, 3.0, 5.0, 2.0])
    assert found is not None
    assert (found.middle, found.lowest, found.highest) == (3.0, 2.0, 4.0)
    assert ratio([None], [1.0]) is None
    assert ratio([1.0], []) is None


def test_a_task_survives_its_json() -> None:
    task = Task((Prompt("a b", (1, 2)), Prompt("c", (3,))), 7)
    assert Task.from_json(task.as_json()) == task
