"""The first of several waits ends them all, and an event loop that has ended is told nothing."""

import asyncio
import threading

import pytest
from support.processes import SOON

from danlu.worker.waiting import first, tell

pytestmark = pytest.mark.anyio


async def test_the_first_that_is_over_ends_the_others() -> None:
    ended = asyncio.Event()

    async def for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    await asyncio.wait_for(first(for_ever(), asyncio.sleep(0)), SOON)
    await asyncio.wait_for(ended.wait(), SOON)


async def test_what_it_raises_is_raised() -> None:
    async def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await asyncio.wait_for(first(asyncio.Event().wait(), fails()), SOON)


async def test_an_event_is_set_from_another_thread() -> None:
    event = asyncio.Event()
    threading.Thread(target=tell, args=(asyncio.get_running_loop(), event)).start()
    await asyncio.wait_for(event.wait(), SOON)


async def test_a_loop_that_has_ended_is_told_nothing() -> None:
    loop, event = asyncio.new_event_loop(), asyncio.Event()
    loop.close()
    tell(loop, event)
    assert not event.is_set()
