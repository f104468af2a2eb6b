"""Whom a failed step ends, of those who were in it."""

import pytest
from hypothesis import given, strategies as st

from danlu.adapters.errors import OutOfMemory, ServeError
from danlu.worker.blame import blamed
from danlu.worker.scheduler import Chunk, Draft, Plan
from danlu.worker.sequence import Sequence

MEMORY = OutOfMemory("the card is full")
OTHER = ServeError("a kernel failed")


def writing(number: int, priority: int = 0) -> Sequence:
    sequence = Sequence([1, 2, 3], number=number, priority=priority)
    sequence.computed = 3
    return sequence


def reading(number: int, priority: int = 0) -> Chunk:
    sequence = Sequence([1, 2, 3], number=number, priority=priority)
    return Chunk(sequence, 0, 2)


def test_for_want_of_memory_the_last_prompt_goes_before_any_answer() -> None:
    one, two, prompt = writing(1), writing(2), reading(0)
    plan = Plan((), (one, two), (prompt,))
    there = {one, two, prompt.sequence}
    assert blamed(plan, there, MEMORY, tokens_lost=False) == [prompt.sequence]
    assert blamed(plan, {one, two}, MEMORY, tokens_lost=False) == [two]


def test_of_several_the_one_whose_turn_was_last_goes() -> None:
    early, urgent, drafting = writing(1), writing(9, priority=-1), writing(5)
    plan = Plan((), (early, urgent), (), (Draft(drafting, (7, 8)),))
    there = {early, urgent, drafting}
    assert blamed(plan, there, MEMORY, tokens_lost=False) == [drafting]


@pytest.mark.parametrize(("error", "tokens_lost"), [(OTHER, False), (OTHER, True), (MEMORY, True)])
def test_anything_else_and_lost_tokens_end_everybody(error: ServeError, tokens_lost: bool) -> None:
    one, two, prompt = writing(1), writing(2), reading(0)
    plan = Plan((), (one,), (prompt,), (Draft(two, (7,)),))
    there = {one, two, prompt.sequence, writing(4)}
    assert set(blamed(plan, there, error, tokens_lost=tokens_lost)) == {one, two, prompt.sequence}


@given(st.lists(st.tuples(st.booleans(), st.integers(-2, 2), st.booleans()), max_size=8))
def test_memory_that_is_short_ends_them_one_by_one_until_nobody_is_left(
    facts: list[tuple[bool, int, bool]],
) -> None:
    """Who has ended already is not blamed again, and every prompt goes before any answer."""
    answers = [writing(i, rank) for i, (writes, rank, _) in enumerate(facts) if writes]
    prompts = [reading(i, rank) for i, (writes, rank, _) in enumerate(facts) if not writes]
    plan = Plan((), tuple(answers), tuple(prompts))
    everybody = [*answers, *(chunk.sequence for chunk in prompts)]
    there = {s for s in everybody if facts[s.order[1]][2]}
    gone: list[Sequence] = []
    while ended := blamed(plan, there, MEMORY, tokens_lost=False):
        assert len(ended) == 1 and ended[0] in there
        there -= set(ended)
        gone += ended
    assert not there
    assert gone == sorted(gone, key=lambda s: (s.decoding, tuple(-n for n in s.order)))
