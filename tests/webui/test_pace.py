"""Answers slowed down to what a browser can show."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from support.processes import SOON

from danlu.adapters.errors import WorkerLost
from danlu.webui.backend import Answer
from danlu.webui.pace import RATE, SHORTEST, paced, pause


class Source:
    """A stream of answers that a test feeds by hand."""

    def __init__(self) -> None:
        self.feed: asyncio.Queue[Answer | Exception | None] = asyncio.Queue()
        self.closed = asyncio.Event()

    async def stream(self) -> AsyncGenerator[Answer]:
        try:
            while (item := await self.feed.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed.set()


def at_once() -> float:
    return 0.0


async def collected(answers: AsyncGenerator[Answer | None]) -> list[str | None]:
    return [answer.text if answer else None async for answer in answers]


@pytest.mark.anyio
async def test_a_slow_page_sees_only_the_newest_and_always_the_last() -> None:
    source = Source()
    for number in range(100):
        source.feed.put_nowait(Answer(str(number)))
    source.feed.put_nowait(None)
    seen = await collected(paced(source.stream(), asyncio.Event(), lambda: 60.0))
    assert seen[-1] == "99"
    assert len(seen) < 5
    assert source.closed.is_set()


@pytest.mark.anyio
async def test_a_silent_source_gives_signs_of_life() -> None:
    source = Source()
    answers = paced(source.stream(), asyncio.Event(), at_once, tick=0.001)
    assert await anext(answers) is None
    assert await anext(answers) is None
    source.feed.put_nowait(Answer("at last"))
    source.feed.put_nowait(None)
    assert "at last" in await collected(answers)


@pytest.mark.anyio
async def test_a_stop_closes_the_source_at_once() -> None:
    source, stop = Source(), asyncio.Event()
    source.feed.put_nowait(Answer("some"))
    answers = paced(source.stream(), stop, at_once, tick=60)
    assert await anext(answers) == Answer("some")
    stop.set()
    async with asyncio.timeout(SOON):
        assert await collected(answers) == []
    assert source.closed.is_set()


@pytest.mark.anyio
async def test_a_stop_does_not_wait_for_the_next_update() -> None:
    source, stop = Source(), asyncio.Event()
    source.feed.put_nowait(Answer("one"))
    answers = paced(source.stream(), stop, lambda: 60.0, tick=60)
    await anext(answers)
    source.feed.put_nowait(Answer("two"))
    rest = asyncio.create_task(collected(answers))
    await asyncio.sleep(0)
    stop.set()
    async with asyncio.timeout(SOON):
        await rest
    assert source.closed.is_set()


@pytest.mark.anyio
async def test_a_reader_who_leaves_closes_the_source() -> None:
    source = Source()
    source.feed.put_nowait(Answer("some"))
    answers = paced(source.stream(), asyncio.Event(), at_once)
    await anext(answers)
    await answers.aclose()
    assert source.closed.is_set()


@pytest.mark.anyio
async def test_what_was_said_before_an_error_is_shown_before_the_error() -> None:
    source = Source()
    source.feed.put_nowait(Answer("half"))
    source.feed.put_nowait(WorkerLost("gone"))
    answers = paced(source.stream(), asyncio.Event(), lambda: 60.0)
    assert await anext(answers) == Answer("half")
    with pytest.raises(WorkerLost, match="gone"):
        await collected(answers)


def test_a_long_conversation_is_resent_less_often() -> None:
    assert pause(100) == SHORTEST
    assert pause(RATE) == 1.0
