"""Servers that the web page talks to, made for tests: danlu's controller and API, stock FastChat's.

They really listen, on a free port, in a thread of their own. A test scripts them by plain
attributes and reads what they were asked.
"""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from danlu.adapters.wire.frames import encode

from .processes import SOON, wait_for

STEP = 0.01  # seconds between two pieces of a scripted answer


class Script:
    """What a fake says: `pieces` one by one, at `pause_after` held until `go_on` is set.

    `endless` repeats the last piece for ever. `left` is set once a reader left before the end.
    """

    def __init__(self, *pieces: str) -> None:
        self.pieces: Sequence[str] = pieces or ("Hello", ", ", "world", ".")
        self.pause_after: int | None = None
        self.go_on = threading.Event()
        self.endless = False
        self.break_after: int | None = None
        self.left = threading.Event()
        self.finish_reason: str | None = "stop"

    async def play(self) -> AsyncGenerator[str]:
        ended = False
        try:
            for number, piece in enumerate(self.pieces):
                if number == self.pause_after:
                    while not self.go_on.is_set():
                        await asyncio.sleep(STEP)
                if number == self.break_after:
                    raise ConnectionResetError("scripted")
                yield piece
                await asyncio.sleep(STEP)
            while self.endless:
                yield self.pieces[-1]
                await asyncio.sleep(STEP)
            ended = True
        finally:
            if not ended:
                self.left.set()


class Fake:
    """A server between `with` and the end of its block."""

    def __init__(self) -> None:
        self.reset()
        self._sock = socket.socket()
        self._sock.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._sock.getsockname()[1]}"
        config = uvicorn.Config(
            Starlette(routes=self.routes()), log_config=None, timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._sock]}, name="fake-server"
        )

    def reset(self) -> None:
        """As if nobody had scripted or asked it yet."""
        self.models: list[str] = ["fake-model"]
        self.script = Script()
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.failure: tuple[int, dict[str, Any]] | None = None

    def routes(self) -> list[Route]:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for(lambda: self._server.started, "the fake listens", SOON)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.script.go_on.set()
        self._server.should_exit = True
        self._thread.join(SOON)
        self._sock.close()
        assert not self._thread.is_alive()

    async def heard(self, request: Request) -> dict[str, Any]:
        """The body of a request, kept in `asked`."""
        raw = await request.body()
        body: dict[str, Any] = json.loads(raw) if raw else {}
        self.asked.append((request.url.path, body))
        return body

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [body for asked, body in self.asked if asked == path]


class FakeDanlu(Fake):
    """Our controller with its API, in one; `key` is what the API wants, "" for none."""

    key = ""
    address = ""  # of the API, if it is not here
    event: dict[str, Any] | None = None

    def routes(self) -> list[Route]:
        return [
            Route("/get_api_address", self._address, methods=["POST"]),
            Route("/v1/models", self._models),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
        ]

    async def _address(self, request: Request) -> Response:
        await self.heard(request)
        return JSONResponse({"address": self.address or self.url})

    async def _models(self, request: Request) -> Response:
        if self._refused(request):
            return self._unauthorized()
        cards = [{"id": name, "object": "model"} for name in self.models]
        return JSONResponse({"object": "list", "data": cards})

    async def _chat(self, request: Request) -> Response:
        await self.heard(request)
        if self._refused(request):
            return self._unauthorized()
        if self.failure is not None:
            return JSONResponse(self.failure[1], status_code=self.failure[0])
        return StreamingResponse(self._events(), media_type="text/event-stream")

    def _refused(self, request: Request) -> bool:
        return bool(self.key) and request.headers.get("Authorization") != f"Bearer {self.key}"

    def _unauthorized(self) -> Response:
        error = {"message": "wrong key", "type": "invalid_request_error", "code": "invalid_api_key"}
        return JSONResponse({"error": error, "code": 40101}, status_code=401)

    async def _events(self) -> AsyncGenerator[bytes]:
        count = 0
        if self.event is not None:
            yield _event(self.event)
            return
        yield _event({"choices": [{"index": 0, "delta": {"role": "assistant"}}]})
        async for piece in self.script.play():
            count += 1
            yield _event({"choices": [{"index": 0, "delta": {"content": piece}}]})
        finish = {"index": 0, "delta": {}, "finish_reason": self.script.finish_reason}
        yield _event({"choices": [finish]})
        yield _event({"choices": [], "usage": _usage(count)})
        yield b"data: [DONE]\n\n"


class FakeStock(Fake):
    """FastChat's controller and one worker of its, at one address.

    The conversation template is what a stock worker sends for ChatGLM2, and it serves a name that
    says nothing about it.
    """

    context_length = 2048
    prompt_tokens = 7
    error: tuple[int, str] | None = None
    ours = False  # the worker is danlu's
    danlu = False  # the controller is danlu's, and names this address as its API
    api_address = ""
    rewrites: Mapping[str, str] = {}

    def routes(self) -> list[Route]:
        paths = {
            "/get_api_address": self._address,
            "/list_language_models": self._models,
            "/get_worker_address": self._worker,
            "/worker_get_conv_template": self._template,
            "/model_details": self._details,
            "/count_token": self._count,
            "/worker_get_capabilities": self._capabilities,
            "/worker_generate_stream": self._generate,
        }
        return [Route(path, route, methods=["POST"]) for path, route in paths.items()]

    async def _address(self, request: Request) -> Response:
        if not self.danlu:
            return JSONResponse({"detail": "Not Found"}, status_code=404)
        return JSONResponse({"address": self.api_address})

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"models": self.models})

    async def _worker(self, request: Request) -> Response:
        body = await self.heard(request)
        return JSONResponse({"address": self.url if body["model"] in self.models else ""})

    async def _template(self, request: Request) -> Response:
        return JSONResponse({"conv": CHATGLM2})

    async def _details(self, request: Request) -> Response:
        return JSONResponse({"context_length": self.context_length})

    async def _count(self, request: Request) -> Response:
        await self.heard(request)
        return JSONResponse({"count": self.prompt_tokens, "error_code": 0})

    async def _capabilities(self, request: Request) -> Response:
        if not self.ours:
            return JSONResponse({"detail": "Not Found"}, status_code=404)
        return JSONResponse({"version": "0", "messages": True, "deltas": True})

    async def _generate(self, request: Request) -> Response:
        await self.heard(request)
        return StreamingResponse(self._frames())

    async def _frames(self) -> AsyncGenerator[bytes]:
        if self.error is not None:
            code, cause = self.error
            yield encode({"text": f"{BANNER}\n\n({cause})", "error_code": code})
            return
        text, count = "", 0
        async for piece in self.script.play():
            before = self.rewrites.get(text, text)
            text, count = before + piece, count + 1
            yield encode(_frame(text, count, None))
        yield encode(_frame(text, count, self.script.finish_reason))


def _frame(text: str, count: int, finish_reason: str | None) -> dict[str, Any]:
    return {"text": text, "error_code": 0, "usage": _usage(count), "finish_reason": finish_reason}


BANNER = "**NETWORK ERROR DUE TO HIGH TRAFFIC. PLEASE REGENERATE OR REFRESH THIS PAGE.**"

CHATGLM2 = {  # as FastChat main sends it (golden trace)
    "name": "chatglm2",
    "system_template": "{system_message}",
    "system_message": "",
    "system_message_vision": "",
    "roles": ["问", "答"],
    "messages": [],
    "offset": 0,
    "sep_style": 9,
    "sep": "\n\n",
    "sep2": None,
    "stop_str": None,
    "stop_token_ids": None,
    "max_image_size_mb": None,
}


def _event(chunk: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(chunk)}\n\n".encode()


def _usage(count: int) -> dict[str, int]:
    return {"prompt_tokens": 5, "completion_tokens": count, "total_tokens": 5 + count}
