"""Runs every shape of step once before anybody waits for one: a card's first time takes long."""

from collections.abc import Iterator

from .kv_room import Room
from .kv_slots import KvSlots
from .loading import Progress
from .runner import Runner
from .scheduler import Scheduler, bucket
from .sequence import Sequence
from .weights import READING

PROMPTS = (1, 16, 64, 256)  # tokens; the lengths of parts of prompts that are tried


def warm_up(runner: Runner, room: Room, progress: Progress) -> None:
    """Run prompts of several lengths, and decode with each number of rows that is a bucket's."""
    rounds = list(_rounds(room))
    for done, lengths in enumerate(rounds):
        progress.set(
            READING + (1 - READING) * done / len(rounds), f"warming up {len(lengths)} rows"
        )
        _run(runner, room, lengths)


def _rounds(room: Room) -> Iterator[list[int]]:
    rows = 1
    while rows <= bucket(room.concurrency):
        count = min(rows, room.concurrency)
        yield [min(PROMPTS[i % len(PROMPTS)], room.length - 2) for i in range(count)]
        rows *= 2


def _run(runner: Runner, room: Room, lengths: list[int]) -> None:
    """One round on slots of its own: what it leaves in the cache, nobody knows of."""
    scheduler = Scheduler(KvSlots(room.slots), concurrency=len(lengths), chunk=max(PROMPTS))
    sequences = [Sequence([0] * length, number=i) for i, length in enumerate(lengths)]
    for sequence in sequences:
        scheduler.add(sequence)
    while any(len(s.tokens) < len(s.prompt) + 2 for s in sequences):
        plan = scheduler.plan(sum(lengths))
        runner.run(plan)
        scheduler.done(plan)
        for sequence in plan.due:
            sequence.tokens.append(0)
