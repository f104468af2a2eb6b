"""FastChat's recorded answers, replayed against our worker: the same bytes, but append-only."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.engines import golden
from support.workers import an_app, an_engine, client_of, frames_in

pytestmark = pytest.mark.anyio

TRACES = Path(__file__).parents[1] / "golden" / "fastchat_traces.jsonl"
STREAM = "worker_generate_stream"


def traces() -> dict[str, dict[str, Any]]:
    lines = TRACES.read_text(encoding="utf-8").splitlines()
    every = (json.loads(line) for line in lines)
    return {trace["case"]: trace for trace in every if trace["server"] == "worker"}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    with an_engine(golden) as engine:
        async with client_of(an_app(engine)) as client:
            yield client


async def replayed(client: httpx.AsyncClient, trace: dict[str, Any]) -> httpx.Response:
    body = None if trace["request"] is None else json.dumps(trace["request"])
    return await client.request(trace["method"], trace["path"], content=body)


@pytest.mark.parametrize("case", sorted(set(traces()) - {STREAM}))
async def test_an_answer_is_fastchats_byte_for_byte(case: str, client: httpx.AsyncClient) -> None:
    trace = traces()[case]
    answer = await replayed(client, trace)
    assert answer.status_code == trace["status"]
    assert answer.headers.get("content-type") == trace["content_type"]
    assert answer.text == trace["body"]


async def test_a_stream_is_fastchats_but_for_the_frames_that_it_takes_back(
    client: httpx.AsyncClient,
) -> None:
    """FastChat's third, fifth and seventh frame show text that later frames change.

    Ours repeat what is certain there. Every other frame, and everything else, is the same bytes.
    """
    trace = traces()[STREAM]
    answer = await replayed(client, trace)
    assert (answer.status_code, answer.headers.get("content-type")) == (200, None)
    theirs = trace["body"].encode().split(b"\0")
    ours = answer.content.split(b"\0")
    assert len(ours) == len(theirs)
    assert [i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b] == [2, 4, 6]
    for a, b in ((json.loads(ours[i]), json.loads(theirs[i])) for i in (2, 4, 6)):
        assert b["text"].startswith(a.pop("text"))
        b.pop("text")
        assert a == b


async def test_a_stream_only_ever_grows(client: httpx.AsyncClient) -> None:
    frames = frames_in((await replayed(client, traces()[STREAM])).content)
    texts = [frame["text"] for frame in frames]
    assert all(later.startswith(earlier) for earlier, later in zip(texts, texts[1:], strict=False))
