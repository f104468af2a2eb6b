"""What runs in the background goes on, whatever happens, and ends with its block."""

import asyncio
import logging

import pytest
from support.registry_plane import BOUND

from danlu.controller.repeat import repeated


@pytest.mark.anyio
async def test_an_action_that_raises_is_repeated_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    third = asyncio.Event()
    times = 0

    async def action() -> None:
        nonlocal times
        times += 1
        if times == 3:
            third.set()
        raise RuntimeError("dictionary changed size during iteration")

    with caplog.at_level(logging.ERROR):
        async with asyncio.timeout(BOUND), repeated("sweep", action, pause=0):
            await third.wait()
    assert "sweep failed; it goes on" in caplog.text
    assert "dictionary changed size" in caplog.text


@pytest.mark.anyio
async def test_nothing_is_left_when_the_block_ends() -> None:
    began = asyncio.Event()

    async def action() -> None:
        began.set()
        await asyncio.Event().wait()

    async with asyncio.timeout(BOUND), repeated("probe", action, pause=0):
        await began.wait()
    assert [task.get_name() for task in asyncio.all_tasks()].count("probe") == 0
