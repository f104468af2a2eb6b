"""Reading a prompt may slow answers down, by a measure."""

import pytest
from hypothesis import given, strategies as st

from danlu.worker.pace import FIRST_GUESS, FIRST_PRICE, LEAST, LEAST_PRICE, STRETCH, Pace

seconds = st.floats(1e-6, 60)


def a_pace(*, step: float, token: float, most: int = 512) -> Pace:
    """One that has seen a step without prompts, and a prompt's token alone."""
    pace = Pace(most, 2 * most)
    pace.took(step, decoding=3, prompt_tokens=0)
    pace.took(token * 100, decoding=0, prompt_tokens=100)
    return pace


def test_where_nobody_waits_prompts_take_all_there_is() -> None:
    assert Pace(512, 1024).budget(0) == 1024
    assert a_pace(step=1e-3, token=1).budget(0) == 1024


@pytest.mark.parametrize(("most", "guess"), [(512, FIRST_GUESS), (32, 32)])
def test_before_anything_was_measured_there_is_a_guess(most: int, guess: int) -> None:
    pace = Pace(most, 2 * most)
    assert pace.budget(1) == guess
    pace.took(1.0, decoding=1, prompt_tokens=0)
    assert pace.budget(1) == guess
    pace.took(3.0, decoding=1, prompt_tokens=10)
    assert pace.budget(1) == min(LEAST, most)


def test_a_step_that_reads_takes_two_and_a_half_times_as_long() -> None:
    assert STRETCH == 2.5
    assert a_pace(step=0.050, token=0.001).budget(1) == 75


@pytest.mark.parametrize(
    ("decoding", "reading", "budget"),
    [(4, 0, 75), (4, 4, 75), (4, 6, 112), (1, 4, 300), (1, 9, 512)],
)
def test_the_more_wait_for_a_first_token_the_more_is_read(
    decoding: int, reading: int, budget: int
) -> None:
    assert a_pace(step=0.050, token=0.001).budget(decoding, reading) == budget


def test_a_guess_is_for_one_prompt_beside_one_answer() -> None:
    assert Pace(512, 1024).budget(2, 6) == 3 * FIRST_GUESS


def test_a_prompt_is_read_on_however_slowly() -> None:
    assert a_pace(step=0.001, token=1).budget(1) == LEAST


def test_no_more_than_the_most_is_read_however_fast() -> None:
    assert a_pace(step=1, token=1e-6).budget(1) == 512


def test_what_a_step_takes_by_itself_is_not_the_prompts_fault() -> None:
    pace = Pace(512, 1024)
    pace.took(0.5, decoding=3, prompt_tokens=0)
    pace.took(0.75, decoding=3, prompt_tokens=16)
    assert pace.budget(1) == 48


def test_a_mixed_step_before_any_other_says_nothing() -> None:
    pace = Pace(512, 1024)
    pace.took(9.0, decoding=3, prompt_tokens=20)
    assert pace.budget(1) == FIRST_GUESS


def test_one_slow_step_changes_little_and_many_change_all() -> None:
    pace = a_pace(step=0.100, token=0.001)
    pace.took(0.200, decoding=3, prompt_tokens=0)
    assert pace.budget(1) == 180
    for _ in range(50):
        pace.took(0.200, decoding=3, prompt_tokens=0)
    assert pace.budget(1) == pytest.approx(300, abs=1)


@given(
    took=st.lists(st.tuples(seconds, st.integers(0, 8), st.integers(0, 512)), max_size=20),
    most=st.integers(1, 2048),
    decoding=st.integers(0, 64),
    reading=st.integers(0, 64),
)
def test_whatever_was_measured_something_is_read_and_never_more_than_the_most(
    took: list[tuple[float, int, int]], most: int, decoding: int, reading: int
) -> None:
    pace = Pace(most, 2 * most)
    for time, rows, tokens in took:
        pace.took(time, decoding=rows, prompt_tokens=tokens)
    budget = pace.budget(decoding, reading)
    assert min(LEAST, most) <= budget <= (most if decoding else 2 * most)


def after_drafts(pace: Pace, *, step: float, seconds: float, drafted: int, times: int = 60) -> Pace:
    pace.took(step, decoding=2, prompt_tokens=0)
    for _ in range(times):
        pace.took(seconds, decoding=2, prompt_tokens=0, drafted=drafted)
    return pace


def test_a_drafted_token_costs_what_all_answers_could_get_in_its_time() -> None:
    pace = after_drafts(Pace(512, 1024), step=1.0, seconds=1.5, drafted=5)
    assert [pace.price(n) for n in (1, 2, 8)] == pytest.approx([0.1, 0.2, 0.8])


def test_before_a_draft_was_tried_its_price_is_a_guess() -> None:
    pace = Pace(512, 1024)
    assert pace.price(4) == 4 * FIRST_PRICE
    pace.took(3.0, decoding=4, prompt_tokens=0, drafted=2)
    assert pace.price(4) == 4 * FIRST_PRICE


def test_a_quick_step_makes_nothing_free_and_a_slow_one_no_token_dearer_than_a_step() -> None:
    assert after_drafts(Pace(512, 1024), step=1.0, seconds=0.5, drafted=5).price(1) == LEAST_PRICE
    assert after_drafts(Pace(512, 1024), step=1.0, seconds=99.0, drafted=5).price(1) > 0.999


def test_a_single_slow_step_with_a_draft_does_not_end_drafting() -> None:
    """The first one meets memory that nobody touched, or a busy host."""
    pace = after_drafts(Pace(512, 1024), step=1.0, seconds=10.0, drafted=1, times=1)
    assert FIRST_PRICE < pace.price(1) < 0.4


def test_drafts_that_were_too_dear_are_tried_again_in_the_end() -> None:
    pace = after_drafts(Pace(512, 1024), step=1.0, seconds=5.0, drafted=4)
    dear = pace.price(1)
    for _ in range(400):
        pace.took(1.0, decoding=2, prompt_tokens=0)
    assert pace.price(1) < dear / 5


def test_a_draft_beside_a_prompt_is_no_step_by_itself() -> None:
    pace = Pace(512, 1024)
    pace.took(0.5, decoding=3, prompt_tokens=0)
    pace.took(0.9, decoding=3, prompt_tokens=12, drafted=4)
    assert pace.budget(1) == 30
    assert pace.price(1) == FIRST_PRICE
