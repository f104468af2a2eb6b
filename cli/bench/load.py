"""When each request begins: one after the other in lanes, or at random times. Knows no wire.

A request's waiting counts from when it was due, not from when there was room for it: a server
that falls behind is not spared by the load that waits for it.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence

from .prompts import Question
from .sample import Sample

Ask = Callable[[Question, Sample], Awaitable[None]]
Clock = Callable[[], float]


async def in_lanes(
    questions: Sequence[Question],
    lanes: int,
    ask: Ask,
    samples: list[Sample],
    clock: Clock = time.perf_counter,
) -> None:
    """At most `lanes` at a time, the next when one ends. Each request's sample is appended."""
    left = iter(questions)

    async def lane() -> None:
        for question in left:  # one iterator for all lanes
            sample = Sample(due=clock())
            samples.append(sample)
            await ask(question, sample)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(lanes, len(questions))):
            group.create_task(lane())


async def at_random(
    questions: Sequence[Question],
    rate: float,
    most: int | None,
    ask: Ask,
    samples: list[Sample],
    chance: random.Random,
    clock: Clock = time.perf_counter,
) -> None:
    """`rate` a second on average, as independent users come (Poisson); `most` at a time, or all."""
    room = asyncio.Semaphore(most or len(questions) or 1)

    async def one(question: Question, sample: Sample) -> None:
        async with room:
            await ask(question, sample)

    due = clock()
    async with asyncio.TaskGroup() as group:
        for question in questions:
            await asyncio.sleep(max(0.0, due - clock()))
            sample = Sample(due=due)
            samples.append(sample)
            group.create_task(one(question, sample))
            due += chance.expovariate(rate)
