"""Talks to an OpenAI-style API: danlu's own on port 8000, or any other one."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx

from ..adapters.errors import ServeError, WorkerLost
from ..adapters.wire.fastchat import error_in
from ..adapters.wire.generation import Usage
from ..adapters.wire.sse_reader import Decoder
from .backend import Answer, Question
from .calls import call, error_of, stream

DONE = "[DONE]"


class ApiBackend:
    """`url` is the server's base with or without /v1; `key` may be empty."""

    def __init__(
        self, client: httpx.AsyncClient, url: str, *, key: str = "", silence: float = 600.0
    ) -> None:
        self._client, self._silence = client, silence
        self._base = url.rstrip("/").removesuffix("/v1") + "/v1"
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def models(self) -> list[str]:
        url = f"{self._base}/models"
        body = await call(self._client, "GET", url, headers=self._headers)
        if body is None or not isinstance(body.get("data"), list):
            raise ServeError("has no list of models: is it an OpenAI-style API?", peer=url)
        return sorted(str(card["id"]) for card in body["data"])

    async def stream(self, question: Question) -> AsyncGenerator[Answer]:
        url = f"{self._base}/chat/completions"
        answer, decoder = Answer(), Decoder()
        async with stream(
            self._client, url, _body(question), silence=self._silence, headers=self._headers
        ) as chunks:
            async for raw in chunks:
                for data in decoder.feed(raw):
                    if data == DONE:
                        _assert_finished(url, answer)
                        return
                    answer = _grown(answer, _chunk(url, data))
                    yield answer
        _assert_finished(url, answer)


def _body(question: Question) -> dict[str, Any]:
    sampling = question.sampling
    body: dict[str, Any] = {
        "model": question.model,
        "messages": [message.model_dump() for message in question.messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if sampling.top_k != -1:  # OpenAI itself has no such parameter and refuses it
        body["top_k"] = sampling.top_k
    return body


def _chunk(url: str, data: str) -> dict[str, Any]:
    """One chunk; raises the error that it carries, in OpenAI's shape or in FastChat's."""
    try:
        chunk = json.loads(data)
    except ValueError as exc:
        raise WorkerLost("sent an event that is no JSON", peer=url, why=repr(data[:80])) from exc
    if not isinstance(chunk, dict):
        raise WorkerLost("sent an event that is no object", peer=url, why=repr(data[:80]))
    if "error" in chunk or chunk.get("object") == "error":
        raise error_of(url, 200, data.encode())
    error = error_in(chunk)
    if error is not None:
        raise error
    return chunk


def _grown(answer: Answer, chunk: dict[str, Any]) -> Answer:
    text, finish = answer.text, answer.finish_reason
    for choice in chunk.get("choices") or ():
        text += (choice.get("delta") or {}).get("content") or ""
        finish = choice.get("finish_reason") or finish
    usage = Usage.model_validate(chunk["usage"]) if chunk.get("usage") else answer.usage
    return Answer(text, usage, finish)


def _assert_finished(url: str, answer: Answer) -> None:
    if answer.finish_reason is None:
        raise WorkerLost("ended the stream before the answer was complete", peer=url)
