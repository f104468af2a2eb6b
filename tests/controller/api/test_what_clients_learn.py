"""A client learns what went wrong with its model, the log also where."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import httpx
import pytest
from support.api import FakeBackend
from support.processes import free_port
from support.script import NAME
from support.toy_worker import DIE, HANG, ToyWorker, a_frame

from danlu.adapters.host.http import Http
from danlu.adapters.wire.fastchat import SERVER_ERROR_MSG
from danlu.adapters.wire.frames import encode
from danlu.controller.api.app import build_api
from danlu.controller.api.remote_backend import RemoteBackend
from danlu.controller.api.settings import ApiSettings
from danlu.controller.backend import Backend

CHAT = {"model": NAME, "messages": [{"role": "user", "content": "Q"}]}
PATHS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", {**CHAT, "stream": True}),
    ("/v1/completions", {"model": NAME, "prompt": ["a", "b"]}),
    ("/v1/embeddings", {"model": NAME, "input": "a"}),
    ("/api/v1/token_check", {"prompts": [{"model": NAME, "prompt": "a", "max_tokens": 1}]}),
]
OFFER = (
    b'{"version": "0", "context_length": 200, "parameters": [], "deltas": false,'
    b' "messages": true, "embeddings": true}'
)
ELSEWHERE = "http://10.0.0.7:21002/x in /home/me/models/glm.bin"
INSIDE = ("127.0.0.1", "10.0.0.7", "21002", "/home/me", "localhost", "http://", "Errno")
Fault: TypeAlias = Callable[[ToyWorker], None]


def says(*parts: Any, status: int = 200) -> Fault:
    def set_up(worker: ToyWorker) -> None:
        worker.says, worker.status = parts, status

    return set_up


def offers(raw: bytes) -> Fault:
    def set_up(worker: ToyWorker) -> None:
        worker.paths["/worker_get_capabilities"] = [raw]

    return set_up


def reports(sentence: str) -> Fault:
    frame = {"text": f"{SERVER_ERROR_MSG}\n\n({sentence})", "error_code": 50001}
    return says(encode(frame)[:-1], status=500)


FAULTS: dict[str, Fault] = {
    "it breaks off before a word": says(DIE),
    "it breaks off in the middle": says(a_frame("hi"), DIE),
    "it breaks off in a frame": says(a_frame("hi"), a_frame("hi there")[:9]),
    "it says nothing": says(HANG),
    "it says nothing more": says(a_frame("hi"), HANG),
    "it ends without a word": says(),
    "it answers 500": says(f"no way to\n{ELSEWHERE}".encode(), status=500),
    "it has no such route": says(b'{"detail":"Not Found"}', status=404),
    "it sends elsewhere": says(b"", status=302),
    "it sends no JSON": says(f"<html>{ELSEWHERE}".encode() + b"\0"),
    "it sends no object": says(f'["{ELSEWHERE}"]'.encode() + b"\0"),
    "it sends a frame without a text": says(
        f'{{"error_code": 0, "x": "{ELSEWHERE}"}}'.encode() + b"\0"
    ),
    "it counts in words": says(
        f'{{"text": "a", "error_code": 0, "usage": {{"prompt_tokens": "{ELSEWHERE}"}}}}'.encode()
        + b"\0"
    ),
    "it ends for a list of reasons": says(
        f'{{"text": "a", "error_code": 0, "finish_reason": ["{ELSEWHERE}"]}}'.encode() + b"\0"
    ),
    "its probabilities are a word": says(
        f'{{"text": "a", "error_code": 0, "logprobs": "{ELSEWHERE}"}}'.encode() + b"\0"
    ),
    "its vectors are a word": says(f'{{"embedding": "{ELSEWHERE}", "token_num": 1}}'.encode()),
    "its vectors cost a word": says(f'{{"embedding": [[1]], "token_num": "{ELSEWHERE}"}}'.encode()),
    "it offers no JSON": offers(f"<html>{ELSEWHERE}".encode()),
    "it offers nonsense": offers(f'{{"version": "{ELSEWHERE}"}}'.encode()),
    "it reports a connection of its own": reports(f"cannot reach {ELSEWHERE}"),
    "it reports a traceback": reports(
        f'Traceback (most recent call last):\n  File "/home/me/x.py"\nOSError: {ELSEWHERE}'
    ),
}


@asynccontextmanager
async def a_client(
    backend: Backend | Callable[[Http], Backend],
) -> AsyncIterator[httpx.AsyncClient]:
    async with Http() as http:
        there = backend(http) if callable(backend) else backend
        app = build_api(ApiSettings(worker_timeout=0.3), there, http)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            yield client


def assert_discreet(answer: httpx.Response, port: int | str) -> None:
    told = answer.text + str(answer.headers)
    assert [word for word in (*INSIDE, str(port)) if word in told] == []
    assert "error" in answer.text


@pytest.mark.anyio
@pytest.mark.parametrize(("path", "body"), PATHS, ids=lambda value: str(value)[-40:])
@pytest.mark.parametrize("name", FAULTS)
async def test_what_a_worker_does_wrong_is_told_of_the_model_and_logged_of_the_address(
    name: str, path: str, body: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with ToyWorker() as worker:
        worker.paths["/worker_get_capabilities"] = [OFFER]
        FAULTS[name](worker)
        async with a_client(FakeBackend(worker.address)) as client:
            answer = await client.post(path, json=body)
    if path == "/v1/embeddings" and worker.status == 404:
        assert answer.json()["message"] == f"model {NAME!r} gives no embeddings"
        return
    assert_discreet(answer, worker.address.rpartition(":")[2])
    assert (f"the worker of model {NAME!r} " in answer.text) is not name.startswith("it reports")
    lines = [line for line in caplog.messages if line.startswith("worker failed")]
    assert "fault" not in caplog.text
    assert lines and all(worker.address in line and "\n" not in line for line in lines)


@pytest.mark.anyio
@pytest.mark.parametrize(("path", "body"), PATHS, ids=lambda value: str(value)[-40:])
async def test_a_worker_that_refuses_is_told_of_the_model_and_logged_of_the_address(
    path: str, body: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    async with a_client(FakeBackend(f"http://127.0.0.1:{port}")) as client:
        answer = await client.post(path, json=body)
    assert answer.status_code == 502
    assert answer.json()["message"] == f"the worker of model {NAME!r} cannot be reached"
    assert_discreet(answer, port)
    assert f"worker failed address=http://127.0.0.1:{port} error=worker_unreachable" in caplog.text


@pytest.mark.anyio
@pytest.mark.parametrize(("path", "body"), [("/v1/models", None), ("/ready", None), *PATHS])
async def test_a_controller_elsewhere_that_refuses_is_told_without_its_address(
    path: str, body: Any, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    method = "GET" if body is None else "POST"
    async with a_client(lambda http: RemoteBackend(http, f"http://127.0.0.1:{port}")) as client:
        answer = await client.request(method, path, json=body)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["message"] == "the controller gives no answer"
    assert_discreet(answer, port)
    assert f"controller failed: http://127.0.0.1:{port} gives no answer: " in caplog.text


@pytest.mark.anyio
async def test_a_defect_of_ours_is_told_by_its_name_and_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(FakeBackend):
        async def models(self) -> list[str]:
            raise RuntimeError(f"broken at {ELSEWHERE}")

    with caplog.at_level(logging.ERROR):
        async with a_client(Broken()) as client:
            answer = await client.get("/v1/models")
    assert answer.json()["message"] == "internal error: RuntimeError"
    assert_discreet(answer, "Traceback")
    assert "Traceback" in caplog.text and ELSEWHERE in caplog.text
