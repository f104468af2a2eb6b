"""The controller as a worker: whole frames or none, one error, and every lease given back."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from support.registry_plane import Plane, a_plane, listening, until
from support.toy_worker import DIE, HANG, Deed, ToyWorker, a_frame

from danlu.adapters.wire.fastchat import SERVER_ERROR_MSG
from danlu.adapters.wire.frames import encode

WHOLE: list[dict[str, Any]] = [json.loads(f[:-1]) for f in (a_frame("hi"), a_frame("hi", "stop"))]
OURS = "the worker of model 'toy'"
ASK = {"model": "toy", "prompt": "hi"}


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    async with a_plane() as opened:
        yield opened


@pytest.fixture
async def worker(plane: Plane) -> AsyncIterator[ToyWorker]:
    async with ToyWorker() as known:
        await plane.join(known)
        yield known


@pytest.fixture
async def other(plane: Plane, worker: ToyWorker) -> AsyncIterator[ToyWorker]:
    async with ToyWorker() as known:
        await plane.join(known)
        yield known


def idle(plane: Plane) -> bool:
    return plane.registry.total().queue_length == 0


@pytest.mark.anyio
async def test_the_body_is_handed_on_as_it_came(plane: Plane, worker: ToyWorker) -> None:
    sent: dict[str, Any] = {"prompt": "你", "unheard_of": [1, {"a": None}]}
    assert await plane.stream(**sent) == WHOLE
    assert worker.asked == [("/worker_generate_stream", {"model": "toy", **sent})]
    assert idle(plane)


@pytest.mark.anyio
@pytest.mark.parametrize("cut", range(1, 12))
async def test_frames_are_whole_wherever_the_network_cuts_them(
    plane: Plane, worker: ToyWorker, cut: int
) -> None:
    raw = a_frame("hi") + a_frame("hi", "stop")
    worker.says = [raw[i : i + cut * 7] for i in range(0, len(raw), cut * 7)]
    assert await plane.stream() == WHOLE


@pytest.mark.anyio
async def test_the_first_frame_does_not_wait_for_the_second(
    plane: Plane, worker: ToyWorker
) -> None:
    worker.says = [a_frame("hi"), HANG]
    async with (
        listening(plane.app) as client,
        client.stream("POST", "/worker_generate_stream", json=ASK) as answer,
    ):
        assert await anext(answer.aiter_raw()) == a_frame("hi")


@pytest.mark.anyio
async def test_a_worker_that_refuses_is_out_at_once_and_another_one_answers(
    plane: Plane, worker: ToyWorker, other: ToyWorker
) -> None:
    await worker.stop()
    assert await plane.stream() == WHOLE
    assert plane.registry.addresses() == [other.address]
    assert idle(plane)


@pytest.mark.anyio
@pytest.mark.parametrize("says", [[DIE], [a_frame("hi")[:9], DIE], [a_frame("hi")[:9]]])
async def test_a_worker_lost_before_its_first_frame_is_replaced(
    plane: Plane, worker: ToyWorker, other: ToyWorker, says: list[bytes | Deed]
) -> None:
    worker.says = says
    assert await plane.stream() == WHOLE
    assert plane.registry.addresses() == [worker.address, other.address]
    assert idle(plane)


@pytest.mark.anyio
async def test_a_worker_that_is_not_ready_is_out_and_replaced(
    plane: Plane, worker: ToyWorker, other: ToyWorker
) -> None:
    worker.status = 503
    assert await plane.stream() == WHOLE
    assert plane.registry.addresses() == [other.address]


@pytest.mark.anyio
async def test_a_request_that_workers_die_of_does_not_reach_all_of_them(
    plane: Plane, worker: ToyWorker, other: ToyWorker
) -> None:
    async with ToyWorker() as third:
        await plane.join(third)
        worker.says = other.says = [DIE]
        (error,) = await plane.stream()
        assert error["error_code"] == 50006
        assert third.asked == []
    assert idle(plane)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "says", [[a_frame("hi"), DIE], [a_frame("hi"), a_frame("hi there")[:9], DIE]]
)
async def test_a_worker_lost_in_the_middle_is_an_error_after_whole_frames(
    plane: Plane, worker: ToyWorker, other: ToyWorker, says: list[bytes | Deed]
) -> None:
    worker.says = says
    first, error = await plane.stream()
    assert first == WHOLE[0]
    assert error["error_code"] == 50006
    assert error["text"] == f"{SERVER_ERROR_MSG}\n\n({OURS} broke off in the middle of its answer)"
    assert other.asked == []
    assert idle(plane)


@pytest.mark.anyio
async def test_a_stream_that_ends_in_the_middle_of_a_frame_is_an_error(
    plane: Plane, worker: ToyWorker
) -> None:
    worker.says = [a_frame("hi") + b'{"text": ']
    first, error = await plane.stream()
    assert first == WHOLE[0]
    assert error["error_code"] == 50006
    assert "in the middle of a frame" in error["text"]


@pytest.mark.anyio
@pytest.mark.parametrize("begun", [[], [a_frame("hi")]])
async def test_a_silent_worker_is_an_error_and_stays_and_nobody_else_is_asked(
    begun: list[bytes],
) -> None:
    async with (
        a_plane(worker_timeout=0.2) as plane,
        ToyWorker() as worker,
        ToyWorker() as other,
    ):
        await plane.join(worker)
        await plane.join(other)
        worker.says = [*begun, HANG]
        *_, error = await plane.stream()
        assert error["error_code"] == 50006
        assert "silent for too long" in error["text"]
        assert other.asked == []
        await until(worker.left.is_set)
        assert plane.registry.addresses() == [worker.address, other.address]
        assert idle(plane)


@pytest.mark.anyio
async def test_the_last_worker_that_is_lost_is_named(plane: Plane, worker: ToyWorker) -> None:
    await worker.stop()
    (error,) = await plane.stream()
    assert error["error_code"] == 50006
    assert "cannot be reached" in error["text"]
    (error,) = await plane.stream()
    assert error == {"text": SERVER_ERROR_MSG, "error_code": 50005}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "code", "cause"), [(400, 40302, "too hot"), (404, 40301, "serves other, not toy")]
)
async def test_a_workers_own_refusal_is_handed_on_with_its_status(
    plane: Plane, worker: ToyWorker, other: ToyWorker, status: int, code: int, cause: str
) -> None:
    refused = {"text": f"{SERVER_ERROR_MSG}\n\n({cause})", "error_code": code}
    worker.status, worker.says = status, [encode(refused)]
    answer = await plane.client.post("/worker_generate_stream", json=ASK)
    assert (answer.status_code, answer.content) == (status, encode(refused))
    assert other.asked == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "says", "cause"),
    [
        (500, [b"Internal Server Error"], "answered 500)"),
        (404, [b'{"detail":"Not Found"}'], "answered 404)"),
        (200, [], "answered nothing"),
    ],
)
async def test_an_answer_without_a_frame_is_an_error_and_not_asked_for_again(
    plane: Plane, worker: ToyWorker, other: ToyWorker, status: int, says: list[bytes], cause: str
) -> None:
    """A stock worker loses a permit with each such answer: one of them is enough."""
    worker.status, worker.says = status, says
    (error,) = await plane.stream()
    assert error["error_code"] == 50001
    assert cause in error["text"]
    assert other.asked == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("raw", "status", "cause"),
    [
        (b"{", 400, "the body is not valid JSON"),
        (b"{}", 400, "'model' is missing"),
        (b'{"model": 7}', 400, "'model' is 7"),
        (b'"' + b"x" * 10_000_000 + b'"', 413, "larger than"),
    ],
)
async def test_a_body_that_is_wrong_is_one_frame_that_names_what(
    plane: Plane, raw: bytes, status: int, cause: str
) -> None:
    answer = await plane.client.post("/worker_generate_stream", content=raw)
    assert answer.status_code == status
    assert answer.content.endswith(b'"error_code": 40001}\0')
    assert cause in answer.text


PLACE = "http://10.0.0.7:21002/x in /home/me/glm.bin"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "says"),
    [
        (200, [DIE]),
        (200, [a_frame("hi"), DIE]),
        (200, [a_frame("hi"), a_frame("hi there")[:9]]),
        (200, [a_frame("hi"), HANG]),
        (200, [HANG]),
        (200, []),
        (500, [f"no way to\n{PLACE}".encode()]),
        (503, [PLACE.encode()]),
        (302, [PLACE.encode()]),
        (500, [encode({"text": f"{SERVER_ERROR_MSG}\n\n({PLACE})", "error_code": 50001})]),
    ],
)
async def test_what_a_worker_does_wrong_is_told_without_its_address_and_logged_with_it(
    status: int, says: list[bytes | Deed], caplog: pytest.LogCaptureFixture
) -> None:
    async with a_plane(worker_timeout=0.2) as plane, ToyWorker() as worker:
        await plane.join(worker)
        worker.status, worker.says = status, says
        *_, error = await plane.stream()
        port = worker.address.rpartition(":")[2]
    inside = ("127.0.0.1", port, "10.0.0.7", "21002", "/home/me", "http://")
    assert [word for word in inside if word in error["text"]] == []
    assert OURS in error["text"] or PLACE in caplog.text
    lines = [line for line in caplog.messages if line.startswith("worker failed")]
    assert lines and all(worker.address in line and "\n" not in line for line in lines)


@pytest.mark.anyio
async def test_a_worker_that_refuses_is_told_of_the_model_and_logged_of_the_address(
    plane: Plane, worker: ToyWorker, caplog: pytest.LogCaptureFixture
) -> None:
    await worker.stop()
    (error,) = await plane.stream()
    assert error["text"] == f"{SERVER_ERROR_MSG}\n\n({OURS} cannot be reached)"
    assert f"worker failed address={worker.address} error=worker_unreachable: " in caplog.text


@pytest.mark.anyio
async def test_whose_duty_it_is_to_tell_addresses_tells_them(
    plane: Plane, worker: ToyWorker
) -> None:
    told = await plane.post("/get_worker_address", {"model": "toy"})
    assert told == {"address": worker.address}


async def leave_early(client: httpx.AsyncClient) -> None:
    async with client.stream("POST", "/worker_generate_stream", json=ASK) as answer:
        await anext(answer.aiter_raw())


@pytest.mark.anyio
async def test_a_reader_that_leaves_frees_the_worker(plane: Plane, worker: ToyWorker) -> None:
    worker.says = [a_frame("hi"), HANG]
    async with listening(plane.app) as client:
        await leave_early(client)
        await until(worker.left.is_set)
        await until(lambda: idle(plane))


@pytest.mark.anyio
async def test_a_reader_that_leaves_before_the_first_frame_frees_the_worker() -> None:
    async with a_plane() as plane, ToyWorker() as worker, listening(plane.app) as client:
        await plane.join(worker)
        worker.says = [HANG]
        reading = asyncio.create_task(leave_early(client))
        await until(lambda: worker.asked)
        assert plane.registry.load(worker.address) == 1
        reading.cancel()
        await until(worker.left.is_set)
        await until(lambda: idle(plane))


@pytest.mark.anyio
async def test_a_hundred_readers_that_leave_cost_nothing(
    plane: Plane, worker: ToyWorker, other: ToyWorker
) -> None:
    worker.says = other.says = [a_frame("hi"), HANG]
    async with listening(plane.app) as client:
        for _ in range(10):
            await asyncio.gather(*(leave_early(client) for _ in range(10)))
        await until(lambda: idle(plane))
        assert len(worker.asked) + len(other.asked) == 100
        worker.says = other.says = [a_frame("hi"), a_frame("hi", "stop")]
        assert await plane.stream() == WHOLE
