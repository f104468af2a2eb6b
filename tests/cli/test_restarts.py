"""What follows when a program under supervision has ended."""

import signal

from hypothesis import given, strategies as st

from danlu.cli.restarts import Again, Enough, Policy, Restarts, manner

POLICY = Policy(first_pause=1, longest_pause=8, limit=5, forgotten_after=60)

KILLED = -int(signal.SIGKILL)


def test_the_pauses_double_up_to_the_longest_and_then_it_is_enough() -> None:
    restarts = Restarts(POLICY)
    verdicts = [restarts.ended(KILLED, lasted=1) for _ in range(6)]
    assert verdicts == [Again(1), Again(2), Again(4), Again(8), Again(8), Enough(1)]


def test_a_program_that_cannot_start_is_not_asked_again() -> None:
    assert Restarts(POLICY).ended(2, lasted=0) == Enough(2)


def test_an_end_in_peace_that_nobody_asked_for_is_answered_by_a_new_start() -> None:
    assert Restarts(POLICY).ended(0, lasted=1) == Again(1)


def test_a_good_run_makes_the_earlier_crashes_forgotten() -> None:
    restarts = Restarts(POLICY)
    for _ in range(5):
        restarts.ended(1, lasted=0)
    assert restarts.ended(1, lasted=60) == Again(1)
    assert restarts.ended(1, lasted=59.9) == Again(2)


@given(st.lists(st.tuples(st.sampled_from([0, 1, -9, -11]), st.floats(0, 59))))
def test_short_runs_never_start_it_more_often_than_the_limit(ends: list[tuple[int, float]]) -> None:
    restarts = Restarts(POLICY)
    starts = [isinstance(restarts.ended(*end), Again) for end in ends]
    assert sum(starts) <= POLICY.limit
    assert starts == sorted(starts, reverse=True)


def test_an_end_is_told_in_words() -> None:
    assert manner(3) == "exit status 3"
    assert manner(KILLED) == "SIGKILL"
    assert manner(-250) == "signal 250"
