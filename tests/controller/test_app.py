"""The registry plane's routes: what is not in the traces, bad input, and what runs beside them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.registry_plane import Plane, a_plane, listening, until
from support.toy_worker import HANG, ToyWorker

from danlu.controller.addresses import BoundAddress

STATUS = {"model_names": ["m"], "speed": 1, "queue_length": 0}
WHO = {"worker_name": "http://w", "check_heart_beat": True, "worker_status": STATUS}


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    async with a_plane() as opened:
        yield opened


@pytest.mark.anyio
async def test_a_worker_joins_beats_and_says_goodbye(plane: Plane) -> None:
    assert await plane.post("/register_worker", WHO) is None
    beat = {"worker_name": "http://w/", "queue_length": 4}
    assert await plane.post("/receive_heart_beat", beat) == {"exist": True}
    assert (await plane.post("/worker_get_status"))["queue_length"] == 4
    assert await plane.post("/unregister_worker", {"worker_name": "http://w/"}) == {"exist": True}
    assert await plane.post("/unregister_worker", {"worker_name": "http://w"}) == {"exist": False}
    assert await plane.post("/receive_heart_beat", beat) == {"exist": False}


@pytest.mark.anyio
async def test_multimodal_models_are_listed_apart(plane: Plane) -> None:
    await plane.post("/register_worker", WHO)
    seeing = {**STATUS, "model_names": ["z", "a"]}
    more = {"worker_name": "http://x", "worker_status": seeing, "multimodal": True}
    await plane.post("/register_worker", {**WHO, **more})
    assert await plane.post("/list_models") == {"models": ["a", "m", "z"]}
    assert await plane.post("/list_multimodal_models") == {"models": ["a", "z"]}
    assert await plane.post("/list_language_models") == {"models": ["m"]}


@pytest.mark.anyio
async def test_speeds_that_are_no_whole_numbers_are_told_as_they_are(plane: Plane) -> None:
    await plane.post("/register_worker", {**WHO, "worker_status": {**STATUS, "speed": 0.5}})
    assert (await plane.client.post("/worker_get_status")).text == (
        '{"model_names":["m"],"speed":0.5,"queue_length":0}'
    )


@pytest.mark.anyio
async def test_no_content_type_is_asked_for(plane: Plane) -> None:
    answer = await plane.client.post("/get_worker_address", content=b'{"model": "m"}')
    assert answer.json() == {"address": ""}


@pytest.mark.anyio
async def test_unknown_fields_of_newer_peers_are_let_through(plane: Plane) -> None:
    assert await plane.post("/register_worker", {**WHO, "cards": 8}) is None
    assert plane.registry.models() == ["m"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/register_worker", {}, "'worker_name' is missing"),
        ("/register_worker", {"worker_name": "http://w"}, "'check_heart_beat' is missing"),
        ("/register_worker", {**WHO, "worker_name": 7}, "'worker_name' is 7"),
        ("/register_worker", {**WHO, "worker_name": "w:21002"}, "must be the worker's base URL"),
        ("/register_worker", {**WHO, "check_heart_beat": "no"}, "'check_heart_beat' is 'no'"),
        ("/register_worker", {**WHO, "worker_status": [1]}, "'worker_status' is [1]"),
        ("/register_worker", {**WHO, "worker_status": {"speed": 1}}, "worker_status.model_names"),
        (
            "/register_worker",
            {**WHO, "worker_status": {**STATUS, "queue_length": -1}},
            "-1 is less than the minimum of 0 - 'worker_status.queue_length'",
        ),
        (
            "/register_worker",
            {**WHO, "worker_status": {**STATUS, "speed": 1e308}},
            "is greater than the maximum of 1e+09 - 'worker_status.speed'",
        ),
        ("/receive_heart_beat", {"worker_name": "http://w"}, "'queue_length' is missing"),
        (
            "/receive_heart_beat",
            {"worker_name": "http://w", "queue_length": 1.5},
            "'queue_length' is 1.5",
        ),
        ("/get_worker_address", {"model": None}, "'model' is None"),
        ("/unregister_worker", {}, "'worker_name' is missing"),
        ("/get_worker_address", ["m"], "must be a JSON object, not an array"),
    ],
)
async def test_a_body_that_is_wrong_is_a_400_that_names_the_field(
    plane: Plane, path: str, body: Any, words: str
) -> None:
    answer = await plane.client.post(path, json=body)
    assert answer.status_code == 400
    assert words in answer.json()["message"]


@pytest.mark.anyio
@pytest.mark.parametrize("speed", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_a_speed_that_is_no_number_is_refused(plane: Plane, speed: str) -> None:
    status = f'{{"model_names": ["m"], "speed": {speed}, "queue_length": 0}}'
    raw = f'{{"worker_name": "http://w", "check_heart_beat": true, "worker_status": {status}}}'
    assert (await plane.client.post("/register_worker", content=raw)).status_code == 400
    assert (await plane.client.post("/worker_get_status")).status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("raw", "status"),
    [(b"", 400), (b"{", 400), (b"\xff", 400), (b"[" * 100_000, 400), (b"0" * 10_000_000, 413)],
    ids=["empty", "cut", "no UTF-8", "deep", "large"],
)
@pytest.mark.parametrize(
    "path",
    ["/register_worker", "/receive_heart_beat", "/get_worker_address", "/unregister_worker"],
)
async def test_a_body_that_is_no_object_is_a_4xx(
    plane: Plane, path: str, raw: bytes, status: int
) -> None:
    answer = await plane.client.post(path, content=raw)
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.anyio
async def test_unknown_routes_and_methods_are_refused_as_fastchat_does(plane: Plane) -> None:
    wrong = await plane.client.get("/list_models")
    assert (wrong.status_code, wrong.json()["detail"]) == (405, "Method Not Allowed")
    nowhere = await plane.client.post("/worker_generate")
    assert (nowhere.status_code, nowhere.json()["detail"]) == (404, "Not Found")


@pytest.mark.anyio
async def test_the_api_is_where_the_asker_can_reach_it() -> None:
    async with a_plane(api=BoundAddress("0.0.0.0", 8000)) as plane:
        headers = {"Host": "furnace.lan:21001"}
        answer = await plane.client.post("/get_api_address", headers=headers)
        assert answer.json() == {"address": "http://furnace.lan:8000"}


@pytest.mark.anyio
async def test_without_an_api_its_address_is_empty(plane: Plane) -> None:
    assert await plane.post("/get_api_address") == {"address": ""}


@pytest.mark.anyio
async def test_a_controller_that_listens_is_healthy_and_ready(plane: Plane) -> None:
    assert (await plane.client.get("/health")).json() == {"status": "ok"}
    ready = await plane.client.get("/ready")
    assert (ready.status_code, ready.json()["state"]) == (200, "ready")


@pytest.mark.anyio
async def test_a_worker_that_dies_is_out_without_anybody_asking_for_it() -> None:
    async with a_plane(probe_interval=0.1) as plane, ToyWorker() as worker, ToyWorker() as other:
        await plane.join(worker, check_heart_beat=False)
        await plane.join(other)
        other.tells = [HANG]
        async with listening(plane.app):
            await worker.stop()
            await until(lambda: plane.registry.addresses() == [other.address])


@pytest.mark.anyio
async def test_a_look_tells_the_true_load_between_heart_beats() -> None:
    async with a_plane(probe_interval=0.1) as plane, ToyWorker() as worker:
        await plane.join(worker)
        plane.registry.hand_out("toy")
        async with listening(plane.app):
            await until(lambda: plane.registry.load(worker.address) == 0)


@pytest.mark.anyio
async def test_a_worker_that_goes_quiet_expires_without_anybody_asking_for_it() -> None:
    async with a_plane(heart_beat_expiration=6.0) as plane, ToyWorker() as worker:
        await plane.join(worker)
        async with listening(plane.app):
            plane.clock.now += 6.1
            await until(lambda: plane.registry.addresses() == [])
