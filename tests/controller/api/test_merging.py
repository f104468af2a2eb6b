"""Streams read at once: all of each, in its order, and nothing left running."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from hypothesis import given, settings, strategies as st

from danlu.controller.api.merging import AT_ONCE, merged


class Source:
    """Numbers up to `count`; knows whether it is read and whether it was closed."""

    def __init__(self, count: int, fails: Exception | None = None) -> None:
        self.count, self.fails = count, fails
        self.open, self.most = 0, 0

    async def told(self) -> AsyncGenerator[int]:
        self.open += 1
        try:
            for number in range(self.count):
                await asyncio.sleep(0)
                yield number
            if self.fails is not None:
                raise self.fails
        finally:
            self.open -= 1


async def endless() -> AsyncGenerator[int]:
    yield 0
    await asyncio.Event().wait()


@settings(max_examples=30)
@given(st.lists(st.integers(0, 10), min_size=1, max_size=8))
def test_every_stream_comes_whole_and_in_its_order(counts: list[int]) -> None:
    async def all_of() -> list[tuple[int, int]]:
        return [pair async for pair in merged([Source(count).told() for count in counts])]

    heard = asyncio.run(all_of())
    for index, count in enumerate(counts):
        assert [piece for source, piece in heard if source == index] == list(range(count))


@pytest.mark.anyio
async def test_the_first_error_ends_them_all() -> None:
    broken = Source(1, ValueError("broken"))
    with pytest.raises(ValueError, match="broken"):
        async for _ in merged([endless(), broken.told(), endless()]):
            pass
    assert broken.open == 0
    assert _others_running() == []


@pytest.mark.anyio
async def test_who_stops_reading_ends_them_all() -> None:
    sources = [Source(1000) for _ in range(3)]
    pieces = merged([source.told() for source in sources])
    await anext(pieces)
    assert sum(source.open for source in sources) == 3
    await pieces.aclose()
    assert [source.open for source in sources] == [0, 0, 0]
    assert _others_running() == []


@pytest.mark.anyio
async def test_one_stream_needs_no_task() -> None:
    pieces = merged([endless()])
    await anext(pieces)
    assert _others_running() == []
    await pieces.aclose()


@pytest.mark.anyio
async def test_a_slow_reader_holds_its_streams_back() -> None:
    source = Source(1000)
    pieces = merged([source.told(), source.told()])
    await anext(pieces)
    for _ in range(100):
        await asyncio.sleep(0)
    rest = [piece async for piece in pieces]
    assert len(rest) == 2 * 1000 - 1


@pytest.mark.anyio
async def test_only_so_many_are_read_at_a_time() -> None:
    source = Source(2)
    most = 0
    async for _ in merged([source.told() for _ in range(AT_ONCE + 10)]):
        most = max(most, source.open)
    assert most == AT_ONCE


def _others_running() -> list[str]:
    names = (task.get_name() for task in asyncio.all_tasks())
    return [name for name in names if name.startswith("choice-")]
