"""Work for a reader: done, broken or left, its reader hears of it once and nothing goes on."""

import asyncio

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from danlu.adapters.host.readers import attended


async def silence() -> Message:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def disconnect() -> Message:
    return {"type": "http.disconnect"}


@pytest.mark.anyio
async def test_work_that_is_done_is_given_to_its_reader() -> None:
    async def work() -> int:
        return 5

    assert await attended(silence, work()) == 5


@pytest.mark.anyio
async def test_an_error_of_the_work_is_its_readers() -> None:
    async def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await attended(silence, work())


@pytest.mark.anyio
async def test_work_has_ended_when_its_reader_is_said_to_have_left() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("work")

    with pytest.raises(ClientDisconnect):
        await attended(disconnect, work())
    assert ended == ["work"]
