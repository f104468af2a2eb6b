"""One look at a program: ready, loading or silent; never an exception."""

import httpx
import pytest
from hypothesis import given, strategies as st

from danlu.cli.readiness import SILENT, Readiness, look

pytestmark = pytest.mark.anyio


async def seen(answer: httpx.Response | Exception) -> Readiness:
    def handle(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        return await look(client, "http://worker/ready")


async def test_200_is_ready() -> None:
    assert (await seen(httpx.Response(200, json={"state": "ready"}))).ready


async def test_a_503_tells_how_far_the_loading_is() -> None:
    body = {"state": "loading", "progress": 0.25, "detail": "weights", "error": {}}
    assert await seen(httpx.Response(503, json=body)) == Readiness(False, True, 0.25, "weights")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.Response(404),
        httpx.Response(503, text="Service Unavailable"),
        httpx.Response(503, json=[1]),
        httpx.Response(503, json={"state": "stopping", "progress": 1}),
        httpx.Response(503, json={"state": "loading", "progress": "half"}),
    ],
    ids=repr,
)
async def test_everything_else_is_silence(answer: httpx.Response | Exception) -> None:
    assert await seen(answer) == SILENT


@given(st.floats(allow_nan=False, allow_infinity=False))
async def test_a_bar_never_leaves_its_frame(progress: float) -> None:
    found = await seen(httpx.Response(503, json={"state": "loading", "progress": progress}))
    assert 0 <= found.progress <= 1
