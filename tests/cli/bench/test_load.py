"""When requests begin, on a clock that a test moves."""

import asyncio
import random

import pytest

from danlu.cli.bench.load import at_random, in_lanes
from danlu.cli.bench.prompts import Question
from danlu.cli.bench.sample import Sample

pytestmark = pytest.mark.anyio


class Server:
    """Answers once `together` requests are with it; `most` is what ran at a time."""

    def __init__(self, together: int) -> None:
        self.running = self.most = 0
        self.asked: list[str] = []
        self._together = together
        self._enough = asyncio.Event()

    async def ask(self, question: Question, sample: Sample) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.asked.append(question.prompt)
        if self.running == self._together:
            self._enough.set()
        async with asyncio.timeout(20):
            await self._enough.wait()
        await asyncio.sleep(0)  # whoever may begin, begins now
        self.running -= 1
        sample.ended = sample.due


def questions(count: int) -> list[Question]:
    return [Question(str(i), 1) for i in range(count)]


@pytest.mark.parametrize(("lanes", "most"), [(1, 1), (3, 3), (50, 10)])
async def test_lanes_bound_what_runs_at_a_time(lanes: int, most: int) -> None:
    server, samples = Server(most), list[Sample]()
    await in_lanes(questions(10), lanes, server.ask, samples)
    assert server.most == most
    assert sorted(server.asked, key=int) == [str(i) for i in range(10)]
    assert len(samples) == 10 and all(sample.ok for sample in samples)


async def test_random_requests_are_due_at_poisson_times_and_may_be_bounded() -> None:
    server, samples = Server(2), list[Sample]()
    far = random.Random(5)
    expected = [0.0]
    for _ in range(5):
        expected.append(expected[-1] + far.expovariate(1e6))
    await at_random(questions(6), 1e6, 2, server.ask, samples, random.Random(5), lambda: 0.0)
    assert [sample.due for sample in samples] == pytest.approx(expected)
    assert server.most == 2
    assert server.asked == [str(i) for i in range(6)]


async def test_without_a_bound_random_requests_wait_for_nobody() -> None:
    server, samples = Server(6), list[Sample]()
    await at_random(questions(6), 1e6, None, server.ask, samples, random.Random(5), lambda: 0.0)
    assert server.most == len(samples) == 6
