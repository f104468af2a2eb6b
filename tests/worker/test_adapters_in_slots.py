"""Adapters in plans: whose beginnings are shared, and what a prefix adds to moves and places."""

from collections.abc import Iterator

from danlu.worker.adapter import BASE, Adapter
from danlu.worker.kv_slots import Copy, Fill, KvSlots, Swap
from danlu.worker.runner import HostStep
from danlu.worker.scheduler import Plan, Scheduler
from danlu.worker.sequence import Sequence

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


def numbers(plan: Plan) -> Iterator[list[int]]:
    return iter(HostStep(plan, 64).numbers)


def test_places_count_the_prefix_and_positions_begin_where_the_adapter_says() -> None:
    scheduler = Scheduler(KvSlots(4), concurrency=4, chunk=8)
    for number, adapter in enumerate((BASE, PREFIX, LATER)):
        scheduler.add(Sequence([1, 2, 3], number=number, adapter=adapter))
    ids, positions, places, *_ = numbers(scheduler.plan(16))
    assert ids == [1, 2, 3] * 3
    assert positions == [0, 1, 2, 0, 1, 2, 5, 6, 7]
    assert places == [0, 1, 2, 7, 8, 9, 5, 6, 7]


def test_a_step_knows_which_tokens_are_an_adapters_own() -> None:
    scheduler = Scheduler(KvSlots(4), concurrency=4, chunk=8)
    for number, adapter in enumerate((LORA, BASE, LORA, PREFIX)):
        scheduler.add(Sequence([1, 2], number=number, adapter=adapter))
    host = HostStep(scheduler.plan(16), 64)
    assert host.tuned == (LORA,) and host.numbers[7] == [0, 1, 4, 5]
