"""What makes an upstream away, what brings it back, and how often and how hard it is looked at."""

import asyncio
import logging
from collections import deque

import pytest
from hypothesis import given, strategies as st
from support.processes import SOON

from danlu.adapters.errors import NotReady, ServeError, WorkerUnreachable
from danlu.worker.presence import Presence
from danlu.worker.upstream.watch import AGAIN, Finding, Standing, Watch

pytestmark = pytest.mark.anyio

REFUSED = WorkerUnreachable("refused")
LOADING = NotReady("loading")


@given(findings=st.lists(st.sampled_from(Finding), max_size=40))
def test_it_goes_by_taking_no_connections_and_comes_back_by_serving(
    findings: list[Finding],
) -> None:
    standing, away = Standing(interval=45), False
    for finding in findings:
        was = standing.found
        news = standing.after(finding)
        away = finding is Finding.UNREACHED or (away and finding is Finding.UNFIT)
        assert standing.away is away
        assert news is (standing.found is not was)
        assert standing.pause == (AGAIN if away else 45)


def test_a_short_interval_is_also_the_pause_while_it_is_away() -> None:
    standing = Standing(interval=0.5)
    standing.after(Finding.UNREACHED)
    assert standing.pause == 0.5


class Upstream:
    """Fails at each look as it is told to; then it is there. `asked` is what it was asked."""

    def __init__(self, *looks: ServeError) -> None:
        self.asked: list[str] = []
        self._looks = deque(looks)
        self._now: ServeError | None = None

    async def knock(self) -> None:
        self.asked.append("knock")
        self._now = self._looks.popleft() if self._looks else None
        if isinstance(self._now, WorkerUnreachable):
            raise self._now

    async def check(self) -> None:
        self.asked.append("check")
        if self._now is not None:
            raise self._now


class Clock:
    """Every sleep is over at once, but the `until`-th, which the test waits for."""

    def __init__(self, until: int) -> None:
        self.slept: list[float] = []
        self.reached = asyncio.Event()
        self.until = until

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) >= self.until:
            self.reached.set()
            await asyncio.Event().wait()


class Looking:
    """A watch that runs until its clock stops it."""

    def __init__(self, upstream: Upstream, sleeps: int) -> None:
        self.presence, self.changes = Presence(), list[bool]()
        self.presence.listen(lambda: self.changes.append(self.presence.away))
        self.clock = Clock(sleeps)
        self.watch = Watch(
            upstream.knock, upstream.check, self.presence, interval=45, sleep=self.clock.sleep
        )

    async def run(self) -> None:
        life = asyncio.create_task(self.watch.run())
        await asyncio.wait_for(self.clock.reached.wait(), SOON)
        life.cancel()


async def test_one_that_is_there_is_knocked_at_with_every_heart_beat_and_asked_nothing() -> None:
    upstream = Upstream()
    looking = Looking(upstream, 4)
    await looking.run()
    assert upstream.asked == ["knock"] * 3
    assert looking.clock.slept == [45] * 4 and looking.changes == []


async def test_one_that_refuses_is_looked_at_more_often_until_it_serves_again() -> None:
    upstream = Upstream(REFUSED, REFUSED, LOADING)
    looking = Looking(upstream, 5)
    await looking.run()
    assert looking.clock.slept == [45, AGAIN, AGAIN, AGAIN, 45]
    assert upstream.asked == ["knock", "knock", "knock", "check", "knock", "check"]
    assert looking.changes == [True, False]


async def test_a_change_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        await Looking(Upstream(REFUSED, REFUSED, LOADING, LOADING, REFUSED, REFUSED), 9).run()
    assert [record.getMessage() for record in caplog.records] == [
        "the upstream is away: refused; in no registry until it serves again",
        "the upstream answers again, but does not serve yet: loading",
        "the upstream is away: refused; in no registry until it serves again",
        "the upstream is back",
    ]


async def test_doubt_makes_it_look_at_once() -> None:
    upstream = Upstream(REFUSED)
    looking = Looking(upstream, 1)
    gone = asyncio.Event()
    looking.presence.listen(gone.set)
    life = asyncio.create_task(looking.watch.run())
    await asyncio.wait_for(looking.clock.reached.wait(), SOON)  # it sleeps, and nothing wakes it
    looking.watch.doubt()
    await asyncio.wait_for(gone.wait(), SOON)
    assert upstream.asked == ["knock"]
    life.cancel()


async def test_doubt_of_one_that_is_away_waits_for_its_turn() -> None:
    upstream = Upstream(REFUSED)
    looking = Looking(upstream, 2)
    life = asyncio.create_task(looking.watch.run())
    await asyncio.wait_for(looking.clock.reached.wait(), SOON)
    looking.watch.doubt()
    for _ in range(10):
        await asyncio.sleep(0)
    assert upstream.asked == ["knock"] and looking.presence.away
    life.cancel()
