"""Nobody is given another one's tokens, however slots are taken, left and exchanged."""

import pytest
from hypothesis import given, settings, strategies as st
from support.paper_cache import PaperCache

from danlu.worker.kv_slots import WORTH, Copy, KvSlots, Swap, common
from danlu.worker.sequence import Sequence

LONG = 64


def seated(slots: KvSlots, prompt: list[int], *, read: int | None = None) -> Sequence:
    """A sequence with a slot, which has read its prompt, or so many tokens of it."""
    sequence = Sequence(prompt)
    assert slots.take(sequence) is not None
    sequence.computed = len(prompt) if read is None else read
    return sequence


def left(slots: KvSlots, prompt: list[int]) -> int:
    """The slot in which a sequence that is gone has left its prompt."""
    sequence = seated(slots, prompt)
    slot = sequence.seat
    slots.free(sequence)
    return slot


def counted(start: int, count: int) -> list[int]:
    return list(range(start, start + count))


def test_an_empty_slot_is_taken_before_one_in_which_something_lies() -> None:
    slots = KvSlots(2)
    assert left(slots, counted(0, 20)) == 0
    assert seated(slots, counted(100, 20)).seat == 1


def test_what_lay_there_longest_is_forgotten_first() -> None:
    slots = KvSlots(3)
    early, late = seated(slots, counted(0, 20)), seated(slots, counted(100, 20))
    assert left(slots, counted(200, 20)) == 2
    slots.free(late)
    slots.free(early)
    assert [seated(slots, counted(i, 20)).seat for i in (300, 400, 500)] == [2, 1, 0]


def test_all_slots_owned_means_none_to_take() -> None:
    slots = KvSlots(1)
    seated(slots, [1])
    assert slots.take(Sequence([2])) is None
    assert slots.owned == len(slots) == 1


def test_a_conversation_that_goes_on_does_so_in_its_own_slot() -> None:
    slots = KvSlots(3)
    where = left(slots, counted(0, 40))
    more = Sequence(counted(0, 50))
    assert slots.take(more) == []
    assert (more.seat, more.computed) == (where, 40)


def test_a_beginning_that_many_share_is_copied_and_stays_for_the_next() -> None:
    slots = KvSlots(3)
    where = left(slots, counted(0, 60))
    for expected in (1, 2):
        other = Sequence([*counted(0, 20), 99])
        assert slots.take(other) == [Copy(where, expected, 20)]
        assert (other.seat, other.computed) == (expected, 20)


def test_the_beginning_of_a_running_sequence_is_copied_as_far_as_it_is_read() -> None:
    slots = KvSlots(2)
    seated(slots, counted(0, 60), read=30)
    assert slots.take(Sequence(counted(0, 60))) == [Copy(0, 1, 30)]


def test_an_answer_that_is_being_written_is_nobody_elses_prompt_yet_but_is_once_it_is_over() -> (
    None
):
    """Its newest token has been chosen, and is not computed."""
    slots = KvSlots(2)
    writing = seated(slots, counted(0, 20))
    writing.tokens += [20, 21, 22]
    writing.computed = 22
    follower = Sequence(counted(0, 30))
    assert slots.take(follower) == [Copy(0, 1, 20)]
    slots.free(follower, keep=False)
    slots.free(writing)
    assert slots.take(follower) == []
    assert follower.computed == 22


def test_the_last_token_of_a_prompt_is_computed_whatever_is_known() -> None:
    slots = KvSlots(2)
    left(slots, counted(0, 40))
    again = Sequence(counted(0, 40))
    slots.take(again)
    assert again.computed == 39


@pytest.mark.parametrize(("shared", "reused"), [(WORTH - 1, 0), (WORTH, WORTH)])
def test_a_short_beginning_is_read_again(shared: int, reused: int) -> None:
    slots = KvSlots(2)
    left(slots, counted(0, 40))
    other = Sequence([*counted(0, shared), *counted(100, 40)])
    slots.take(other)
    assert other.computed == reused


def test_a_scored_prompt_is_read_from_its_first_token() -> None:
    slots = KvSlots(2)
    left(slots, counted(0, 40))
    scored = Sequence(counted(0, 40), scored=True)
    assert slots.take(scored) == []
    assert scored.computed == 0


def test_what_is_not_to_be_trusted_is_not_reused() -> None:
    slots = KvSlots(1)
    wrong = seated(slots, counted(0, 40))
    slots.free(wrong, keep=False)
    assert (wrong.slot, wrong.computed) == (None, 0)
    again = Sequence(counted(0, 40))
    assert slots.take(again) == []
    assert again.computed == 0


def test_what_was_left_can_be_forgotten_and_what_runs_is_not() -> None:
    slots = KvSlots(3)
    running = seated(slots, counted(0, 40))
    left(slots, counted(100, 40))
    slots.forget()
    assert [slot.length for slot in (slots[0], slots[1], slots[2])] == [40, 0, 0]
    assert slots[running.seat].owner is running


def test_two_slots_change_places_with_all_that_is_in_them() -> None:
    slots = KvSlots(2)
    one = seated(slots, counted(0, 20))
    where = left(slots, counted(100, 30))
    assert slots.swap(0, where) == Swap(0, 1, 30)
    assert one.seat == 1
    assert slots[0].left.tolist() == counted(100, 30)


@given(one=st.lists(st.integers(0, 1), max_size=12), other=st.lists(st.integers(0, 1), max_size=12))
def test_the_common_beginning_is_counted_as_one_would(one: list[int], other: list[int]) -> None:
    expected = 0
    while expected < min(len(one), len(other)) and one[expected] == other[expected]:
        expected += 1
    assert common(*(Sequence([*ids, 7]).prompt[:-1] for ids in (one, other))) == expected


@st.composite
def prompts(draw: st.DrawFn) -> list[int]:
    """Few words and few beginnings, so that many begin alike and part somewhere."""
    beginning = [draw(st.integers(1, 2))] * draw(st.integers(0, 24))
    return [*beginning, *draw(st.lists(st.integers(1, 3), min_size=1, max_size=12))]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_slot_holds_what_is_believed_to_lie_in_it(data: st.DataObject) -> None:
    """Whoever comes reads some of the prompt at once; whoever goes leaves it, or leaves nothing."""
    slots, cache, running = KvSlots(3, worth=2), PaperCache(3, LONG), list[Sequence]()
    for _ in range(data.draw(st.integers(1, 25))):
        what = data.draw(st.sampled_from(["come", "come", "read", "go", "swap"]))
        if what == "come":
            sequence = Sequence(data.draw(prompts()), scored=data.draw(st.booleans()))
            moves = slots.take(sequence)
            assert (moves is None) is (len(running) == 3)
            if moves is not None:
                cache.move(moves)
                running.append(sequence)
        elif what == "read" and running:
            sequence = data.draw(st.sampled_from(running))
            end = data.draw(st.integers(sequence.computed, len(sequence.prompt)))
            cache[sequence.seat][sequence.computed : end] = sequence.tokens[sequence.computed : end]
            sequence.computed = end
        elif what == "go" and running:
            slots.free(running.pop(data.draw(st.integers(0, len(running) - 1))), keep=True)
        elif what == "swap":
            cache.move([slots.swap(*data.draw(st.permutations(range(3)))[:2])])
        for i in range(3):
            assert cache[i][: slots[i].length] == believed(slots, i)
        assert sorted(s.seat for s in running) == [i for i in range(3) if slots[i].owner]
        assert all(slots[s.seat].owner is s for s in running)


def believed(slots: KvSlots, index: int) -> list[int]:
    slot = slots[index]
    return slot.left.tolist() if slot.owner is None else slot.owner.tokens[: slot.owner.computed]
