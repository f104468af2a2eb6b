"""A worker is known while its model can be had: once in, once out, whatever comes and in whatever
order."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, strategies as st
from support.processes import SOON

from danlu.worker.presence import Presence, while_present
from danlu.worker.registration import Identity, registered

pytestmark = pytest.mark.anyio


class Known:
    """A block that notes who comes in and goes out, and whether anybody is in."""

    def __init__(self) -> None:
        self.noted: list[str] = []
        self._moved = asyncio.Event()

    @asynccontextmanager
    async def block(self) -> AsyncGenerator[None]:
        self._note("in")
        yield
        self._note("out")

    def _note(self, what: str) -> None:
        self.noted.append(what)
        self._moved.set()

    async def until(self, *noted: str) -> None:
        async with asyncio.timeout(SOON):
            while self.noted != list(noted):
                self._moved.clear()
                await self._moved.wait()


async def test_it_is_in_until_the_stop_where_nothing_goes_away() -> None:
    known, stopping = Known(), asyncio.Event()
    life = asyncio.create_task(while_present(Presence(), stopping, known.block))
    await known.until("in")
    stopping.set()
    await asyncio.wait_for(life, SOON)
    assert known.noted == ["in", "out"]


async def test_it_is_out_while_the_model_is_away_and_in_again_after() -> None:
    known, stopping, presence = Known(), asyncio.Event(), Presence()
    life = asyncio.create_task(while_present(presence, stopping, known.block))
    await known.until("in")
    presence.change(away=True)
    await known.until("in", "out")
    presence.change(away=False)
    await known.until("in", "out", "in")
    stopping.set()
    await asyncio.wait_for(life, SOON)
    assert known.noted == ["in", "out"] * 2


async def test_a_stop_while_it_is_out_says_no_second_goodbye() -> None:
    known, stopping, presence = Known(), asyncio.Event(), Presence()
    life = asyncio.create_task(while_present(presence, stopping, known.block))
    await known.until("in")
    presence.change(away=True)
    await known.until("in", "out")
    stopping.set()
    await asyncio.wait_for(life, SOON)
    assert known.noted == ["in", "out"]


async def test_what_is_away_from_the_start_is_not_made_known() -> None:
    known, stopping, presence = Known(), asyncio.Event(), Presence()
    presence.change(away=True)
    life = asyncio.create_task(while_present(presence, stopping, known.block))
    await asyncio.sleep(0)
    assert known.noted == []
    presence.change(away=False)
    await known.until("in")
    stopping.set()
    await asyncio.wait_for(life, SOON)


async def test_it_hears_of_a_change_from_another_thread() -> None:
    known, stopping, presence = Known(), asyncio.Event(), Presence()
    life = asyncio.create_task(while_present(presence, stopping, known.block))
    await known.until("in")
    threading.Thread(target=presence.change, args=(True,)).start()
    await known.until("in", "out")
    stopping.set()
    await asyncio.wait_for(life, SOON)


async def test_controllers_hear_one_goodbye_and_one_new_registration() -> None:
    said: list[str] = []
    moved = asyncio.Event()

    class Controller:
        async def post(self, url: str, body: Any = None, *, timeout: float) -> Any:
            said.append(url.rpartition("/")[2])
            moved.set()
            return {"exist": True}

    async def heard(count: int) -> None:
        async with asyncio.timeout(SOON):
            while len(said) < count:
                moved.clear()
                await moved.wait()

    async def for_ever(_: float) -> None:
        await asyncio.Event().wait()

    who = Identity("http://w:21002", lambda: ("m",), lambda: 0)

    def known() -> Any:
        return registered(who, ["http://a"], Controller(), interval=45, sleep=for_ever)

    stopping, presence = asyncio.Event(), Presence()
    life = asyncio.create_task(while_present(presence, stopping, known))
    await heard(1)
    presence.change(away=True)
    await heard(2)
    presence.change(away=False)
    await heard(3)
    stopping.set()
    await asyncio.wait_for(life, SOON)
    assert said == ["register_worker", "unregister_worker"] * 2


@given(words=st.lists(st.booleans(), max_size=20))
def test_listeners_hear_changes_and_no_repetition(words: list[bool]) -> None:
    presence = Presence()
    heard: list[bool] = []
    presence.listen(lambda: heard.append(presence.away))
    for away in words:
        presence.change(away)
    assert heard == [b for a, b in zip([False, *words], words, strict=False) if a is not b]
