"""An OpenAI-compatible server for tests, with the habits of each kind, and faults where told.

It refuses every field that its kind does not know, so what it answers was asked in its own words.
"""

import json
import math
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from .served import served

TEXTS = ("The ", "cat ", "sat.")
MODEL = "cat-7b"
COMMON = {"model", "stream", "max_tokens", "temperature", "top_p"} | {
    *("presence_penalty", "frequency_penalty", "stop"),
}
EXTRAS = {"top_k", "min_p", "repetition_penalty", "stop_token_ids", "ignore_eos", "min_tokens"}
SCORES = {"seed", "logit_bias", "logprobs", "top_logprobs"}
USAGE = {"stream_options"}
KNOWN = {
    "vllm": COMMON | EXTRAS | SCORES | USAGE | {"echo"},
    "sglang": COMMON | EXTRAS | SCORES | USAGE | {"echo"},
    "mindie": COMMON
    | USAGE
    | {"top_k", "repetition_penalty", "stop_token_ids", "ignore_eos", "seed"},
    "llama.cpp": COMMON
    | SCORES
    | USAGE
    | {"top_k", "min_p", "ignore_eos", "repeat_penalty", "repeat_last_n"},
    "llama-cpp-python": COMMON | SCORES | {"top_k", "min_p", "min_tokens", "repeat_penalty"},
    "ollama": (COMMON | SCORES | USAGE) - {"logit_bias"},
    "danlu": COMMON | EXTRAS | SCORES | USAGE | {"echo", "prompt_logprobs", "priority"},
    "fastchat": (COMMON | {"top_k"}) - {"presence_penalty", "frequency_penalty"},
    "transformers": {*("model", "stream", "max_tokens", "stop", "seed", "generation_config")},
    "openai": COMMON | SCORES | USAGE,
}
OWNERS = {
    **{"vllm": "vllm", "sglang": "sglang", "mindie": "MindIE Server", "llama.cpp": "llamacpp"},
    **{"llama-cpp-python": "me", "ollama": "somebody", "danlu": "fastchat"},
    **{"fastchat": "fastchat", "openai": "system", "transformers": "somebody"},
}


class Break(Exception):
    """A connection that breaks off."""


Step = str | bytes | threading.Event | Break  # a token, raw bytes, a wait, an end without an end


@dataclass
class FakeUpstream:
    """Serves MODEL to whoever has the key. `script` are the steps of every answer.

    `asked` has what it was asked; `left` is set once a reader has gone before the end.
    """

    kind: str = "vllm"
    script: Sequence[Step] = TEXTS
    key: str = ""
    models: Sequence[str] = (MODEL,)
    context: int = 100
    finish: str | None = "stop"
    seed: int | None = None  # its own; an answer's first word is then the seed that it comes of
    refuse: Response | None = None  # what every generation is answered with
    counting: float = math.inf  # how often it counts
    mute: bool = False  # whether it ends streams without a word
    hangs_up: bool = False  # on the first that wants no stream
    embeddings: bool = True
    listing: Response | None = None  # what it answers for its models
    vectors: Response | None = None  # what every text is answered with
    asked: list[tuple[str, Any]] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)
    running: int = 0
    most: int = 0  # that ran at a time

    def app(self) -> Starlette:
        routes = {
            "GET": {"/v1/models": self._models, **self._questions()},
            "POST": {
                "/v1/chat/completions": self._generate,
                "/v1/completions": self._generate,
                **({"/v1/embeddings": self._embed} if self.embeddings else {}),
                **self._counting(),
            },
        }
        return Starlette(
            routes=[
                Route(path, self._guarded(endpoint), methods=[method])
                for method, endpoints in routes.items()
                for path, endpoint in endpoints.items()
            ]
        )

    def last(self, path: str) -> Any:
        return [body for where, body in self.asked if where.endswith(path)][-1]

    def _guarded(self, endpoint: Any) -> Any:
        async def guarded(request: Request) -> Response:
            if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
                return an_error(401, "no such key")
            body = await request.json() if request.method == "POST" else None
            self.asked.append((request.url.path, body))
            answer: Response = await endpoint(body)
            return answer

        return guarded

    async def _models(self, _: Any) -> Response:
        if self.listing is not None:
            return self.listing
        card: dict[str, Any] = {"object": "model", "owned_by": OWNERS[self.kind]}
        if self.kind in ("vllm", "sglang"):
            card["max_model_len"] = self.context
        if self.kind == "llama.cpp":
            card["meta"] = {"n_ctx_train": 10 * self.context}
        return JSONResponse({"data": [{"id": name, **card} for name in self.models]})

    def _questions(self) -> dict[str, Any]:
        """GET routes of its own."""
        facts: dict[str, dict[str, Any]] = {
            "llama.cpp": {"/props": {"default_generation_settings": {"n_ctx": self.context}}},
            "danlu": {"/openapi.json": {"info": {"title": "danlu"}}},
            "fastchat": {"/openapi.json": {"info": {"title": "FastAPI"}}},
            "transformers": {"/openapi.json": {"paths": {"/load_model": {}, "/reset": {}}}},
            "ollama": {
                "/api/version": {"version": "0.9"},
                "/api/ps": {"models": [{"name": MODEL, "context_length": self.context}]},
            },
        }
        return {path: _constant(fact) for path, fact in facts.get(self.kind, {}).items()}

    def _counting(self) -> dict[str, Any]:
        """A character is a token, and every text has one more before it."""
        if self.kind in ("vllm", "sglang"):
            return {"/tokenize": self._tokenize, "/detokenize": self._detokenize}
        if self.kind == "llama.cpp":
            return {"/tokenize": self._tokenize, "/apply-template": self._template}
        if self.kind == "llama-cpp-python":
            return {"/extras/tokenize/count": self._tokenize}
        return {"/api/v1/token_check": self._check} if self.kind in ("danlu", "fastchat") else {}

    async def _tokenize(self, body: Any) -> Response:
        if "messages" in body and self.kind != "vllm":
            return an_error(400, "prompt is required")
        if "messages" in body:
            ids = [1, *map(ord, rendered(body["messages"]))]
        else:
            text = body.get("prompt", body.get("content", body.get("input")))
            ids = [*([1] if body.get("add_special_tokens", True) else []), *map(ord, text)]
        return JSONResponse({"count": len(ids), "tokens": ids, "max_model_len": self.context})

    async def _detokenize(self, body: Any) -> Response:
        return JSONResponse({"prompt": "".join(map(chr, body["tokens"]))})

    async def _template(self, body: Any) -> Response:
        return JSONResponse({"prompt": rendered(body["messages"])})

    async def _check(self, body: Any) -> Response:
        self.counting -= 1
        if self.counting < 0:
            return an_error(500, "no worker")
        counts = [1 + len(one["prompt"]) for one in body["prompts"]]
        told = [{"fits": True, "tokenCount": n, "contextLength": self.context} for n in counts]
        return JSONResponse({"prompts": told})

    async def _embed(self, body: Any) -> Response:
        if self.vectors is not None:
            return self.vectors
        data = [
            {"index": i, "embedding": [3.0 * len(t), 4.0 * len(t)]}
            for i, t in enumerate(body["input"])
        ]
        return JSONResponse({"data": data[::-1], "usage": {"prompt_tokens": 7}})

    async def _generate(self, body: Any) -> Response:
        strange = set(body) - KNOWN[self.kind] - {"messages", "prompt"}
        if strange or body.get("repeat_last_n", 0) < 0:
            return an_error(400, f"unknown fields: {sorted(strange)}")
        asked = len(rendered(body["messages"])) if "messages" in body else 1 + len(body["prompt"])
        picky = self.kind in ("vllm", "sglang", "openai")
        if picky and asked + body.get("max_tokens", 1) > self.context:
            return an_error(400, f"This model's maximum context length is {self.context} tokens.")
        if self.mute and body["stream"]:
            return StreamingResponse(iter(()), media_type="text/event-stream")
        if self.hangs_up and not body["stream"]:
            self.hangs_up = False
            return StreamingResponse(_broken())
        if self.refuse is not None:
            return self.refuse
        if not body.get("stream"):
            return JSONResponse({"choices": [{"text": "The ", "finish_reason": "length"}]})
        return StreamingResponse(self._events(body, asked), media_type="text/event-stream")

    async def _events(self, body: Any, asked: int) -> AsyncIterator[bytes]:
        self.running += 1
        self.most = max(self.most, self.running)
        whole = False
        try:
            async for event in self._answer(body, asked):
                yield event
            whole = True
        finally:
            self.running -= 1
            if not whole:
                self.left.set()

    async def _answer(self, body: Any, asked: int) -> AsyncIterator[bytes]:
        chat = "messages" in body
        along = body.get("stream_options", {}).get("continuous_usage_stats", False)
        done = 0
        if chat:
            yield event(choice={"delta": {"role": "assistant", "content": ""}})
        if body.get("echo"):
            yield event(choice={"text": body["prompt"], **_scores(body, chat, "<prompt>")})
        for step in self._words(body):
            if isinstance(step, threading.Event):
                await anyio.to_thread.run_sync(step.wait, 30, abandon_on_cancel=True)
            elif isinstance(step, Break):
                raise step
            elif isinstance(step, bytes):
                yield step
            else:
                done += 1
                text = {"delta": {"content": step}} if chat else {"text": step}
                counts = {"usage": usage(asked, done)} if along else {}
                yield event(choice={**text, **_scores(body, chat, step)}, **counts)
        if self.finish is None:
            return
        if self.kind == "transformers":
            end: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
            yield event(choice={**end, "finish_reason": self.finish}, usage=usage(asked, done))
            return
        yield event(
            choice={"delta": {}, "finish_reason": self.finish}
            if chat
            else {"text": "", "finish_reason": self.finish}
        )
        if body.get("stream_options", {}).get("include_usage"):
            yield (
                b"data: "
                + json.dumps({"choices": [], "usage": usage(asked, done)}).encode()
                + b"\n\n"
            )
        yield b"data: [DONE]\n\n"

    def _words(self, body: Any) -> Sequence[Step]:
        if self.seed is None:
            return self.script
        return (f"{body.get('seed', self.seed)} ", *self.script)


def event(choice: dict[str, Any], **more: Any) -> bytes:
    chunk = {"id": "x", "choices": [{"index": 0, "finish_reason": None, **choice}], **more}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion}


def an_error(status: int, message: str, **headers: str) -> Response:
    error = {"message": message, "type": "BadRequestError", "param": None, "code": status}
    return JSONResponse({"error": error}, status_code=status, headers=headers)


def rendered(messages: Sequence[dict[str, str]]) -> str:
    """ChatML, which FastChat's template `chatml` and others write, too."""
    turns = [f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages]
    return "".join(turns) + "<|im_start|>assistant\n"


@contextmanager
def an_upstream(kind: str = "vllm", **facts: Any) -> Iterator[tuple[str, FakeUpstream]]:
    """The server's base, with /v1, and itself."""
    fake = FakeUpstream(kind, **facts)
    with served(fake.app()) as url:
        yield f"{url}/v1", fake


def _scores(body: Any, chat: bool, token: str) -> dict[str, Any]:
    if body.get("logprobs") is None or body.get("logprobs") is False:
        return {}
    others = {token: -0.5, "dog ": -1.5, "cow ": -2.5}
    if chat:
        tops = [{"token": t, "logprob": p, "bytes": None} for t, p in others.items()]
        one = {"token": token, "logprob": -0.5, "top_logprobs": tops[: body["top_logprobs"]]}
        return {"logprobs": {"content": [one]}}
    return {
        "logprobs": {
            "text_offset": [0],
            "tokens": [token],
            "token_logprobs": [-0.5],
            "top_logprobs": [others],
        }
    }


async def _broken() -> AsyncIterator[bytes]:
    raise Break
    yield b""


def _constant(fact: Any) -> Any:
    async def answer(_: Any) -> Response:
        return JSONResponse(fact)

    return answer
