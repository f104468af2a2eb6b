"""A server of all three protocols that a load asks, whose answers are scripted by the prompt."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from danlu.adapters.errors import Overloaded
from danlu.adapters.wire.fastchat import error_frame
from danlu.adapters.wire.frames import encode
from danlu.adapters.wire.sse import DONE, error_event, event

TEXTS = ("Fire", " and", " iron", ".")


class BenchServer:
    """A prompt that begins with BOOM is refused, one with TORN or ERROR ends in the middle, one
    with ENDLESS never does. `counts` False leaves the usage out; `key` is wanted for the models.
    What was asked is in `asked`."""

    def __init__(self, *, counts: bool = True, key: str = "") -> None:
        self.asked: list[tuple[dict[str, Any], str]] = []  # body and Authorization
        self._counts = counts
        self._key = key
        self.app = Starlette(
            routes=[
                Route("/v1/models", self._models),
                Route("/worker_get_status", self._status, methods=["POST"]),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/completions", self._completion, methods=["POST"]),
                Route("/worker_generate_stream", self._worker, methods=["POST"]),
            ]
        )

    async def _models(self, request: Request) -> Response:
        if self._key and request.headers.get("authorization") != f"Bearer {self._key}":
            return JSONResponse({"error": {"message": "a key is needed"}}, status_code=401)
        return JSONResponse({"data": [{"id": "first"}, {"id": "second"}]})

    async def _status(self, _: Request) -> Response:
        return JSONResponse({"model_names": ["the-worker's"], "speed": 1, "queue_length": 0})

    async def _chat(self, request: Request) -> Response:
        body = await self._heard(request)
        return self._openai(body["messages"][0]["content"], lambda text: {"delta": _said(text)})

    async def _completion(self, request: Request) -> Response:
        body = await self._heard(request)
        return self._openai(body["prompt"], lambda text: {"text": text or ""})

    def _openai(self, prompt: str, choice: Any) -> Response:
        if prompt.startswith("BOOM"):
            error = Overloaded("the queue is full")
            return JSONResponse(error.envelope(), status_code=error.status)
        return StreamingResponse(self._events(prompt, choice), media_type="text/event-stream")

    async def _events(self, prompt: str, choice: Any) -> AsyncGenerator[bytes]:
        yield event({"choices": [{**choice(None), "finish_reason": None}]})
        for text in TEXTS:
            yield event({"choices": [{**choice(text), "finish_reason": None}]})
            if prompt.startswith("TORN"):
                return
            if prompt.startswith("ERROR"):
                yield error_event(Overloaded("the queue is full"))
                return
            while prompt.startswith("ENDLESS"):
                await asyncio.sleep(0.01)
                yield event({"choices": [{**choice(text), "finish_reason": None}]})
        yield event({"choices": [{**choice(None), "finish_reason": "stop"}]})
        if self._counts:
            yield event({"choices": [], "usage": _usage(len(TEXTS))})
        yield DONE

    async def _worker(self, request: Request) -> Response:
        body = await self._heard(request)
        return StreamingResponse(self._frames(body["prompt"]))

    async def _frames(self, prompt: str) -> AsyncGenerator[bytes]:
        if prompt.startswith("BOOM"):
            yield encode(error_frame(Overloaded("the queue is full")))
            return
        said = ""
        for number, text in enumerate(TEXTS, 1):
            said += text
            frame = {"text": said, "error_code": 0, "finish_reason": None}
            yield encode({**frame, "usage": _usage(number)} if self._counts else frame)
        yield encode({"text": said, "error_code": 0, "finish_reason": "stop"})

    async def _heard(self, request: Request) -> dict[str, Any]:
        body: dict[str, Any] = await request.json()
        self.asked.append((body, request.headers.get("authorization", "")))
        return body


def _said(text: str | None) -> dict[str, str]:
    return {"role": "assistant"} if text is None else {"content": text}


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 9 + tokens}
