"""What FastChat's controller answered, replayed: ours answers the same bytes.

Two of its answers show faults, and ours differ: a missing field is a 400 that names it (theirs: a
500), and a stream that nobody serves is one error frame (theirs: a second one after it).
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.registry_plane import Plane, a_plane
from support.toy_worker import ToyWorker

TRACES = Path(__file__).parents[1] / "golden" / "fastchat_traces.jsonl"
RECORDED = "http://127.0.0.1:21902"  # their worker's address
TRACE = {
    trace["case"]: trace
    for trace in map(json.loads, TRACES.read_text(encoding="utf-8").splitlines())
    if trace["server"] == "controller"
}
FAULTY = {
    "controller_get_worker_address_missing_model",
    "controller_generate_stream_no_worker",
}


@pytest.fixture
async def worker() -> AsyncIterator[ToyWorker]:
    """Theirs: it serves chatglm2-6b and sends the recorded frames."""
    async with ToyWorker("chatglm2-6b") as listening:
        listening.says = [TRACE["controller_generate_stream_ok"]["body"].encode()]
        yield listening


@pytest.fixture
async def plane(worker: ToyWorker) -> AsyncIterator[Plane]:
    async with a_plane() as opened:
        await opened.join(worker)
        yield opened


async def replayed(plane: Plane, worker: ToyWorker, trace: dict[str, Any]) -> httpx.Response:
    sent = None if trace["request"] is None else json.dumps(trace["request"])
    content = sent and sent.replace(RECORDED, worker.address)
    return await plane.client.request(trace["method"], f"/{trace['path']}", content=content)


def test_there_are_traces_to_replay() -> None:
    assert len(TRACE) == 14


@pytest.mark.anyio
@pytest.mark.parametrize("case", sorted(TRACE.keys() - FAULTY))
async def test_the_answer_is_fastchats(plane: Plane, worker: ToyWorker, case: str) -> None:
    trace = TRACE[case]
    answer = await replayed(plane, worker, trace)
    assert answer.status_code == trace["status"]
    assert answer.headers.get("content-type") == trace["content_type"]
    assert answer.text == trace["body"].replace(RECORDED, worker.address)


@pytest.mark.anyio
async def test_a_missing_field_is_named(plane: Plane, worker: ToyWorker) -> None:
    trace = TRACE["controller_get_worker_address_missing_model"]
    answer = await replayed(plane, worker, trace)
    assert answer.status_code == 400
    assert answer.json()["message"] == "'model' is missing"


@pytest.mark.anyio
async def test_a_stream_that_nobody_serves_is_their_first_frame(
    plane: Plane, worker: ToyWorker
) -> None:
    trace = TRACE["controller_generate_stream_no_worker"]
    answer = await replayed(plane, worker, trace)
    assert answer.status_code == trace["status"]
    assert answer.headers.get("content-type") == trace["content_type"]
    first, _, second = trace["body"].partition("\0")
    assert second and answer.text == first + "\0"
