"""Adapters in plans: whose beginnings are shared, and what a prefix adds to moves and places."""

from collections.abc import Sequence as Ids

import pytest
from support.card import card
from torch import tensor

from danlu.worker.adapter import BASE, Adapter
from danlu.worker.additions import grouped, numbers
from danlu.worker.host_step import host_step
from danlu.worker.kv_slots import Copy, Fill, KvSlots, Swap
from danlu.worker.scheduler import Draft, Plan, Scheduler
from danlu.worker.sequence import Sequence
from danlu.worker.shapes import Shapes

LORA, PREFIX, LATER = Adapter("lora"), Adapter("prefix", 7), Adapter("later", 5, 5)
LONG = list(range(100, 140))


def seated(slots: KvSlots, adapter: Adapter, prompt: list[int], *, read: bool = True) -> Sequence:
    sequence = Sequence(prompt, adapter=adapter)
    slots.take(sequence)
    sequence.computed = len(prompt) if read else sequence.computed
    return sequence


def test_a_beginning_is_copied_with_the_entries_before_it() -> None:
    slots = KvSlots(4)
    seated(slots, PREFIX, [*LONG, 1])
    assert slots.take(Sequence([*LONG, 2], adapter=PREFIX)) == [Copy(0, 1, 7 + 40)]


def test_what_another_adapter_made_of_a_beginning_is_not_taken() -> None:
    slots = KvSlots(4)
    for adapter in (BASE, LORA):
        slots.free(seated(slots, adapter, LONG))
    assert slots.take(Sequence([*LONG, 2], adapter=PREFIX)) == [Fill(2, PREFIX)]
    again = Adapter("lora")
    assert slots.take(Sequence([*LONG, 2], adapter=again)) == []


def test_who_sits_down_where_its_beginning_lies_finds_the_prefix_there_too() -> None:
    slots = KvSlots(2)
    slots.free(seated(slots, PREFIX, LONG))
    follower = Sequence([*LONG, 2], adapter=PREFIX)
    assert slots.take(follower) == [] and (follower.slot, follower.computed) == (0, 40)


def test_slots_change_places_with_all_that_is_in_them() -> None:
    slots = KvSlots(3)
    seated(slots, BASE, [1, 2, 3])
    seated(slots, PREFIX, [1, 2, 3])
    assert slots.swap(0, 1) == Swap(0, 1, 7 + 3)
    seated(slots, PREFIX, [9], read=False)
    assert slots.swap(1, 2) == Swap(1, 2, 7)
    assert [slots[i].adapter for i in range(3)] == [PREFIX, PREFIX, BASE]


def test_nobody_waits_for_a_beginning_that_another_adapter_reads() -> None:
    scheduler = Scheduler(KvSlots(4), concurrency=4, chunk=8)
    for adapter in (BASE, LORA, LORA):
        scheduler.add(Sequence(LONG, adapter=adapter))
    plan = scheduler.plan(16)
    assert [chunk.sequence.adapter for chunk in plan.chunks] == [BASE, LORA]


def asked(*adapters: Adapter, prompt: Ids[int] = (1, 2, 3)) -> Plan:
    """The step that reads a prompt with each of the adapters."""
    scheduler = Scheduler(KvSlots(4), concurrency=4, chunk=8)
    for number, adapter in enumerate(adapters):
        scheduler.add(Sequence(prompt, number=number, adapter=adapter))
    return scheduler.plan(32)


def shapes(*, fixed: bool = False) -> Shapes:
    return Shapes(length=64, rows=4, part=8, fixed=fixed)


def test_places_count_the_prefix_and_positions_begin_where_the_adapter_says() -> None:
    step = host_step(asked(BASE, PREFIX, LATER), shapes(), 4)
    assert step.ids == [1, 2, 3] * 3
    assert step.positions == [0, 1, 2, 0, 1, 2, 5, 6, 7]
    assert step.places == [0, 1, 2, 7, 8, 9, 5, 6, 7]
    assert [(part.start, part.end) for part in step.parts] == [(0, 3), (7, 10), (5, 8)]


def test_a_token_sees_the_prefix_and_what_was_said() -> None:
    plan = asked(BASE, PREFIX)
    sequences = [chunk.sequence for chunk in plan.chunks]
    for sequence in sequences:
        sequence.computed = 3
        sequence.tokens.append(9)
    step = host_step(Plan((), tuple(sequences), ()), shapes(), 4)
    assert (step.positions, step.places, step.lengths) == ([3, 3], [3, 10], [4, 11])


def test_a_step_knows_which_tokens_are_an_adapters_own() -> None:
    step = host_step(asked(LORA, BASE, LORA, PREFIX, prompt=(1, 2)), shapes(), 4)
    assert step.tuned == {LORA: [0, 1, 4, 5]}


@pytest.mark.parametrize("fixed", [False, True])
def test_a_draft_lies_behind_what_the_slot_holds_and_all_its_logits_are_due(fixed: bool) -> None:
    plan = asked(PREFIX, LORA)
    writing, guessing = (chunk.sequence for chunk in plan.chunks)
    for sequence in (writing, guessing):
        sequence.computed = 3
        sequence.tokens.append(9)
    plan = Plan((), (writing,), (), (Draft(guessing, (4, 5)),))
    step = host_step(plan, shapes(fixed=fixed), 4)
    first, filled = 1, 16 if fixed else 3
    assert step.ids[first : first + 3] == [9, 4, 5]
    assert step.positions[first : first + 3] == step.places[first : first + 3] == [3, 4, 5]
    assert (step.parts[0].first, step.parts[0].count, step.parts[0].start) == (first, filled, 3)
    assert step.due == [0, first, first + 1, first + 2]
    assert step.kept == list(range(first + filled))
    assert step.tuned[LORA][:3] == [first, first + 1, first + 2]


def test_on_a_card_an_adapters_tokens_are_a_power_of_two() -> None:
    step = host_step(asked(LORA, BASE), shapes(fixed=True), 4)
    assert step.tuned == {LORA: [0, 1, 2, 0]}


@pytest.mark.usefixtures("bound")
def test_only_an_adapter_whose_tokens_are_all_of_them_needs_no_choice() -> None:
    """A list that was filled up is as long as the step, and yet not all of it."""
    there = [tensor([0], device=card())]
    assert grouped({LORA: [0, 1, 2, 3]}, there, 4) == [(LORA, None)]
    assert grouped({LORA: [0, 1, 2, 0]}, there, 4) == [(LORA, there[0])]


def test_of_few_adapters_each_ones_tokens_are_told_and_of_many_each_tokens_adapter() -> None:
    one, two, three = (Adapter(name) for name in ("one", "two", "three"))
    few, of = {one: [0, 2], two: [1]}, {one: 5, two: 6, three: 7}
    assert numbers(few, of, 4) == [[0, 2], [1]]
    assert numbers({**few, three: [4, 4]}, of, 6) == [[5, 6, 5, -1, 7, -1]]
