"""Dispatch: the shortest queue for its speed, or a lottery in proportion to speed."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, strategies as st

from danlu.controller.dispatch import POLICIES, Candidate, Policy, lottery, shortest_queue


def never() -> float:
    raise AssertionError("no chance is needed here")


def workers(*loads_and_speeds: tuple[int, float]) -> list[Candidate]:
    return [Candidate(f"w{n}", load, speed) for n, (load, speed) in enumerate(loads_and_speeds)]


def chosen(candidates: Sequence[Candidate]) -> str:
    winner = shortest_queue(candidates, never)
    assert winner is not None
    return winner.address


def test_the_shortest_queue_wins() -> None:
    assert chosen(workers((3, 1), (1, 1), (2, 1))) == "w1"


def test_a_fast_worker_may_have_a_longer_queue() -> None:
    assert chosen(workers((1, 1), (3, 4))) == "w1"


def test_among_equals_the_first_wins() -> None:
    assert chosen(workers((1, 1), (1, 1))) == "w0"


def test_the_lottery_draws_in_proportion_to_speed() -> None:
    tickets = iter([n / 100 for n in range(100)])
    candidates = workers((9, 1), (0, 3))
    drawn = Counter(
        winner.address for _ in range(100) if (winner := lottery(candidates, tickets.__next__))
    )
    assert drawn == {"w0": 25, "w1": 75}


@pytest.mark.parametrize("policy", POLICIES.values())
def test_nobody_is_chosen_from_nobody(policy: Policy) -> None:
    assert policy([], lambda: 0.5) is None


@pytest.mark.parametrize("policy", POLICIES.values())
def test_a_worker_of_speed_zero_is_given_nothing(policy: Policy) -> None:
    assert policy(workers((0, 0)), lambda: 0.5) is None
    winner = policy(workers((0, 0), (9, 1)), lambda: 0.0)
    assert winner is not None and winner.address == "w1"


@pytest.mark.parametrize("policy", POLICIES.values())
@given(
    facts=st.lists(st.tuples(st.integers(0, 10**12), st.floats(0, 1e9)), max_size=6),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_whoever_is_chosen_can_work_and_somebody_is_chosen_if_anybody_can(
    policy: Policy, facts: list[tuple[int, float]], chance: float
) -> None:
    winner = policy(workers(*facts), lambda: chance)
    assert (winner is None) == (not any(speed > 0 for _, speed in facts))
    assert winner is None or winner.speed > 0
