"""Asking workers: the dead go at once, the slow stay, and nobody waits for somebody else."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from support.registry_plane import BOUND, Plane, a_plane, until
from support.toy_worker import DIE, HANG, ToyWorker

from danlu.controller.rounds import Rounds

NOW, LATER = 1, 2  # seconds after a word: still certain that the port is open, and no more


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    async with a_plane() as opened:
        yield opened


@pytest.fixture
async def worker() -> AsyncIterator[ToyWorker]:
    async with ToyWorker() as listening:
        yield listening


@pytest.fixture
async def other() -> AsyncIterator[ToyWorker]:
    async with ToyWorker() as listening:
        yield listening


def rounds_of(plane: Plane) -> Rounds:
    return Rounds(plane.registry, plane.http, plane.clock)


@pytest.mark.anyio
@pytest.mark.parametrize("status", [None, {}])
async def test_a_worker_that_does_not_tell_its_status_is_asked(
    plane: Plane, worker: ToyWorker, status: object
) -> None:
    worker.queue_length = 3
    await plane.join(worker, worker_status=status)
    assert worker.asked == [("/worker_get_status", None)]
    assert plane.registry.models() == ["toy"]
    assert plane.registry.load(worker.address) == 3


@pytest.mark.anyio
@pytest.mark.parametrize("told", [[DIE], [b"<html>"], [b"[]"], [b'{"model_names": "toy"}']])
async def test_a_worker_whose_status_cannot_be_had_is_not_taken_in(
    plane: Plane, worker: ToyWorker, told: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    worker.tells = told
    with caplog.at_level(logging.WARNING):
        await plane.join(worker, worker_status=None)
    assert plane.registry.addresses() == []
    assert f"worker not registered address={worker.address}" in caplog.text


@pytest.mark.anyio
async def test_a_look_renews_what_is_known(plane: Plane, worker: ToyWorker) -> None:
    await plane.join(worker)
    worker.models, worker.queue_length = ("toy", "second"), 2
    plane.clock.now += 80
    await plane.post("/refresh_all_workers")
    assert plane.registry.models() == ["second", "toy"]
    assert plane.registry.load(worker.address) == 2
    assert plane.registry.expire(plane.clock.now + 89) == []


@pytest.mark.anyio
async def test_a_look_drops_who_refuses_and_keeps_who_does_not_answer(
    plane: Plane, worker: ToyWorker, other: ToyWorker
) -> None:
    await plane.join(worker)
    await plane.join(other)
    await worker.stop()
    other.tells = [HANG]
    await rounds_of(plane).visit_all(timeout=1)
    assert plane.registry.addresses() == [other.address]


@pytest.mark.anyio
async def test_a_worker_that_owes_no_heart_beats_is_dropped_when_it_refuses(
    plane: Plane, worker: ToyWorker
) -> None:
    await plane.join(worker, check_heart_beat=False)
    await worker.stop()
    await plane.post("/refresh_all_workers")
    assert plane.registry.addresses() == []


@pytest.mark.anyio
async def test_a_worker_that_was_started_anew_and_still_loads_is_dropped(
    plane: Plane, worker: ToyWorker
) -> None:
    await plane.join(worker)
    worker.status = 503
    await plane.post("/refresh_all_workers")
    assert plane.registry.addresses() == []


@pytest.mark.anyio
@pytest.mark.parametrize("status", [404, 500])
async def test_a_worker_that_cannot_tell_its_status_stays(
    plane: Plane, worker: ToyWorker, status: int
) -> None:
    await plane.join(worker)
    worker.status = status
    await plane.post("/refresh_all_workers")
    assert plane.registry.addresses() == [worker.address]


@pytest.mark.anyio
async def test_a_look_at_a_worker_that_hangs_holds_up_nobody(
    plane: Plane, worker: ToyWorker
) -> None:
    await plane.join(worker)
    worker.tells = [HANG]
    looking = asyncio.create_task(plane.post("/refresh_all_workers"))
    await until(lambda: worker.asked)
    assert await plane.post("/list_models") == {"models": ["toy"]}
    assert not looking.done()
    await worker.stop()
    assert await looking is None


@pytest.mark.anyio
async def test_all_workers_are_asked_at_the_same_time(
    plane: Plane, worker: ToyWorker, other: ToyWorker
) -> None:
    worker.tells = other.tells = [HANG]
    await plane.join(worker)
    await plane.join(other)
    looking = asyncio.create_task(rounds_of(plane).visit_all(timeout=2 * BOUND))
    await until(lambda: worker.asked and other.asked)
    looking.cancel()
    await asyncio.wait({looking})


@pytest.mark.anyio
async def test_nobody_knocks_right_after_a_word(plane: Plane, worker: ToyWorker) -> None:
    await plane.join(worker)
    await worker.stop()
    plane.clock.now += NOW
    assert await plane.post("/get_worker_address", {"model": "toy"}) == {"address": worker.address}


@pytest.mark.anyio
async def test_the_address_of_a_worker_that_refuses_is_not_given_away(
    plane: Plane, worker: ToyWorker, other: ToyWorker
) -> None:
    await plane.join(worker)
    await plane.join(other)
    await worker.stop()
    plane.clock.now += LATER
    assert await plane.post("/get_worker_address", {"model": "toy"}) == {"address": other.address}
    assert plane.registry.addresses() == [other.address]
    await other.stop()
    plane.clock.now += LATER
    assert await plane.post("/get_worker_address", {"model": "toy"}) == {"address": ""}


@pytest.mark.anyio
async def test_an_open_port_is_looked_at_once_in_a_while(plane: Plane, worker: ToyWorker) -> None:
    await plane.join(worker)
    plane.clock.now += LATER
    await plane.post("/get_worker_address", {"model": "toy"})
    await worker.stop()
    assert await plane.post("/get_worker_address", {"model": "toy"}) == {"address": worker.address}
    plane.clock.now += LATER
    assert await plane.post("/get_worker_address", {"model": "toy"}) == {"address": ""}


@pytest.mark.anyio
async def test_a_worker_whose_name_is_not_found_now_is_given_away_all_the_same(
    plane: Plane,
) -> None:
    nameless = "http://no.such.host.invalid:1"
    status = {"model_names": ["toy"], "speed": 1, "queue_length": 0}
    who = {"worker_name": nameless, "check_heart_beat": True, "worker_status": status}
    await plane.post("/register_worker", who)
    plane.clock.now += LATER
    assert await plane.post("/get_worker_address", {"model": "toy"}) == {"address": nameless}
