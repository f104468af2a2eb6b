"""Guesses are made where they pay, and those that are right are what the model says anyway."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from danlu.adapters.errors import ServeError
from danlu.worker.drafting import AT_ONCE, FIRST_RATES, Drafter, may_draft, verified
from danlu.worker.draw import Choice
from danlu.worker.job import Job, Sampling

CHEAP, DEAR = 1e-6, 0.99
few = st.integers(0, 2)
WRONG = ServeError("not a number")


def a_job(**facts: Any) -> Job:
    return Job(prompt_ids=(1, 2), max_new_tokens=5, **facts)


def chosen(*tokens: int) -> list[Choice | ServeError]:
    return [Choice(token) for token in tokens]


@pytest.mark.parametrize(
    ("draft", "tokens", "right"),
    [
        ([1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4]),
        ([1, 2, 3], [1, 2, 9, 4], [1, 2, 9]),
        ([1, 2, 3], [9, 2, 3, 4], [9]),
        ([1], [1, 7], [1, 7]),
    ],
)
def test_a_draft_stands_as_far_as_the_model_says_the_same_and_one_token_further(
    draft: list[int], tokens: list[int], right: list[int]
) -> None:
    assert verified(draft, chosen(*tokens)) == chosen(*right)


def test_what_is_no_number_ends_what_stands() -> None:
    one, two = chosen(1, 2)
    assert verified([1, 2], [one, WRONG, two]) == [one]
    assert verified([2, 2], [one, WRONG, two]) == [one]
    assert verified([2], [WRONG, two]) == []


def test_who_gives_up_guesses_no_more() -> None:
    drafter = Drafter([1, 2, 1, 2], prompt=4, most=4)
    assert drafter.draft(9, CHEAP)
    drafter.give_up()
    assert drafter.draft(9, CHEAP) == []


@given(st.lists(few, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_a_model_whose_token_depends_on_the_text_says_the_same_with_drafts(
    draft: list[int], chance: Any
) -> None:
    """Row i is right only where all guesses before it are."""
    table: dict[tuple[int, ...], int] = {}

    def says(text: list[int]) -> int:
        return table.setdefault(tuple(text), chance.randrange(3))

    alone: list[int] = []
    for _ in range(len(draft) + 1):
        alone.append(says(alone))
    rows = chosen(*(says(draft[:number]) for number in range(len(draft) + 1)))
    found = [choice.token for choice in verified(draft, rows)]
    assert found and found == alone[: len(found)]


@pytest.mark.parametrize(
    "job",
    [
        a_job(grammar="start: /a/"),
        a_job(logprobs=0),
        a_job(sampling=Sampling(repetition_penalty=1.1)),
        a_job(sampling=Sampling(presence_penalty=0.1)),
        a_job(sampling=Sampling(frequency_penalty=-0.1)),
    ],
)
def test_an_answer_in_which_a_token_changes_how_the_next_is_chosen_is_not_drafted(job: Job) -> None:
    assert not may_draft(job, 0) and not may_draft(job, 4)


def test_other_answers_are_drafted_once_their_end_tokens_may_come() -> None:
    assert may_draft(a_job(sampling=Sampling(seed=1, logit_bias=((1, 2.0),), top_p=0.5)), 0)
    held = a_job(stop_ids=frozenset({2}), min_tokens=3)
    assert [may_draft(held, produced) for produced in range(5)] == [False] * 3 + [True] * 2
    assert may_draft(a_job(min_tokens=3), 0)


def test_the_last_guess_is_worth_its_price() -> None:
    drafter = Drafter([1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3], prompt=11, most=8)
    rate = FIRST_RATES[2]
    for count in range(1, 6):
        assert len(drafter.draft(99, price=rate**count * 1.001)) == count - 1
        assert len(drafter.draft(99, price=rate**count * 0.999)) == count


def test_a_run_that_goes_on_is_longer_and_its_guesses_surer() -> None:
    drafter = Drafter([1, 2, 3, 4, 5, 9, 1], prompt=7, most=8)
    one, two, three = FIRST_RATES
    assert drafter.draft(9, one * 1.001) == []
    assert drafter.draft(9, one * two * three * 0.999) == [2, 3, 4]


def test_a_long_prompt_is_noted_in_parts_and_nothing_is_guessed_before_all_of_it_is() -> None:
    tokens = [7, 8, 9, *range(100, 100 + 3 * AT_ONCE), 7, 8]
    drafter = Drafter(tokens, prompt=len(tokens), most=8)
    drafts = [drafter.draft(2, CHEAP) for _ in range(6)]
    assert drafts == [[], [], [], [9, 100], [9, 100], [9, 100]]


def test_no_more_is_guessed_than_there_is_room_for_and_than_is_wanted() -> None:
    drafter = Drafter([1, 2, 1, 2, 1, 2], prompt=6, most=4)
    assert drafter.draft(99, CHEAP) == [1, 2, 1, 2]
    assert drafter.draft(2, CHEAP) == [1, 2]
    assert drafter.draft(0, CHEAP) == drafter.draft(-1, CHEAP) == []


def test_guesses_that_would_be_wrong_become_fewer_without_being_made() -> None:
    tokens = [*range(10, 40), 10, 11, 12]
    drafter = Drafter(tokens, prompt=len(tokens), most=8)
    hopeful = len(drafter.draft(9, 0.2))
    for number in range(30):  # each time another token than the one that stood there
        tokens += [100 + number, 10, 11, 12]
    assert hopeful > 0 and drafter.draft(9, 0.2) == []


def test_guesses_that_would_be_right_become_more() -> None:
    tokens = [1, 2, 3, 4, 5] * 3
    drafter = Drafter(tokens, prompt=len(tokens), most=8)
    assert len(drafter.draft(9, 0.5)) == 1
    tokens += [1, 2, 3, 4, 5] * 6
    assert len(drafter.draft(9, 0.5)) == 8
    assert drafter.draft(9, DEAR) == []


def test_what_was_tried_and_what_was_right_is_counted() -> None:
    drafter = Drafter([1], prompt=1, most=4)
    assert drafter.judge([1, 2], chosen(1, 9, 9)) == chosen(1, 9)
    assert drafter.judge([1, 2], chosen(9, 9, 9)) == chosen(9)
    assert drafter.judge([], [WRONG]) == []
    assert (drafter.tried, drafter.right) == (4, 1)
