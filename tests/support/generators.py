"""Workers for tests of the API plane: their whole HTTP side, and no engine.

A stock one speaks as FastChat's with the golden frames, one of ours takes messages and sends
deltas. Words in a prompt change what happens: boom is an engine's error, FULL its device's memory,
SLOW never ends, DIE breaks the connection off after two frames, STOP ends the stream after two
frames, EMPTY says nothing, BUSY is too many requests, WRONG a refusal of the body.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from danlu.adapters.errors import BadRequest, OutOfMemory, OutOfRange, Overloaded, ServeError
from danlu.adapters.wire.conversation import template_named
from danlu.adapters.wire.fastchat import error_frame
from danlu.adapters.wire.frames import encode

from .script import ANSWER, CONTEXT, PREFIX, TEXTS, VECTOR

WORDS = ("All ", "is ", "well.")
OUR_PARAMETERS = (
    *("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty"),
    *("frequency_penalty", "logit_bias", "min_tokens", "stop", "stop_token_ids", "ignore_eos"),
    *("seed", "choice", "logprobs", "echo", "structured_outputs", "prompt_logprobs", "priority"),
)
OF_THE_PROMPT = [None, {"5": {"logprob": -0.5, "rank": 1, "decoded_token": "Q"}}]


UNKNOWN_TOKEN = 99


class Worker:
    """What both kinds have in common; remembers what it was asked. Owned by its server's loop."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.left = 0  # streams whose reader went away
        self.running = 0

    def routes(self) -> list[Route]:
        return [
            self._route("/worker_generate_stream", self.generate),
            self._route("/worker_get_embeddings", self.embed),
            self._route("/count_token", self.count),
        ]

    def app(self) -> Starlette:
        return Starlette(routes=self.routes())

    def _route(self, path: str, answer: Any) -> Route:
        async def endpoint(request: Request) -> Response:
            self.asked.append(path)
            response: Response = answer(json.loads(await request.body() or b"null"))
            return response

        return Route(path, endpoint, methods=["POST"])

    def frames(self, body: dict[str, Any]) -> Sequence[dict[str, Any]]:
        raise NotImplementedError

    def generate(self, body: dict[str, Any]) -> Response:
        self.bodies.append(body)
        text = prompt_of(body)
        if "BUSY" in text:
            return refusal(Overloaded("5 wait already"))
        if "WRONG" in text:
            return refusal(BadRequest("'prompt' is wrong"))
        if UNKNOWN_TOKEN in body.get("prompt_token_ids", ()):
            return refusal(OutOfRange(f"{UNKNOWN_TOKEN} is too large - 'prompt_token_ids'"))
        if "boom" in text:
            return Response(encode(error_frame(ServeError("kaboom"))))
        if "FULL" in text:
            return Response(encode(error_frame(OutOfMemory("npu:0 is out of memory"))))
        if "EMPTY" in text:
            return Response(b"")
        return StreamingResponse(self._told(text, self.frames(body)))

    async def _told(self, text: str, frames: Sequence[dict[str, Any]]) -> AsyncIterator[bytes]:
        self.running += 1
        try:
            for number, frame in enumerate(frames):
                if number == 2 and "DIE" in text:
                    raise ConnectionAbortedError("as the test wanted it")
                if number == 2 and "STOP" in text:
                    return
                yield encode(frame)
                if "SLOW" in text:
                    await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.left += 1
            raise
        finally:
            self.running -= 1

    def embed(self, body: dict[str, Any]) -> Response:
        self.bodies.append(body)
        return JSONResponse({"embedding": [list(VECTOR) for _ in body["input"]], "token_num": 4})

    def count(self, body: dict[str, Any]) -> Response:
        return JSONResponse({"count": len(body["prompt"]) + PREFIX, "error_code": 0})


class StockWorker(Worker):
    """FastChat's, with ChatGLM2's template and cumulative texts."""

    def __init__(self, texts: Sequence[str] = (*TEXTS, ANSWER)) -> None:
        super().__init__()
        self.texts = texts

    def routes(self) -> list[Route]:
        return [
            *super().routes(),
            self._route("/worker_get_conv_template", self.template),
            self._route("/model_details", self.details),
        ]

    def template(self, _: dict[str, Any]) -> Response:
        return JSONResponse({"conv": template_named("chatglm2")})

    def details(self, _: dict[str, Any]) -> Response:
        return JSONResponse({"context_length": CONTEXT})

    def frames(self, body: dict[str, Any]) -> Sequence[dict[str, Any]]:
        prompt = len(body["prompt"]) + PREFIX
        whole = [
            {"text": text, "error_code": 0, "usage": usage(prompt, n), "finish_reason": None}
            for n, text in enumerate(self.texts, 1)
        ]
        return [*whole, {**whole[-1], "finish_reason": "stop"}]


class OurWorker(Worker):
    """danlu's: takes messages, sends deltas, and says what it can."""

    def __init__(self, parameters: Sequence[str] = OUR_PARAMETERS) -> None:
        super().__init__()
        self.parameters = parameters

    def routes(self) -> list[Route]:
        return [*super().routes(), self._route("/worker_get_capabilities", self.capabilities)]

    def capabilities(self, _: dict[str, Any]) -> Response:
        offer = {"version": "0", "context_length": CONTEXT, "parameters": list(self.parameters)}
        return JSONResponse({**offer, "deltas": True, "messages": True, "embeddings": True})

    def frames(self, body: dict[str, Any]) -> Sequence[dict[str, Any]]:
        assert body["delta"] is True
        prompt = len(prompt_of(body)) + PREFIX
        last = len(WORDS)
        return [
            {
                "delta": word,
                "error_code": 0,
                "usage": usage(prompt, n),
                "finish_reason": "stop" if n == last else None,
                **({} if "logprobs" not in body else {"logprobs": logprobs(word)}),
                **(
                    {"prompt_logprobs": OF_THE_PROMPT}
                    if n == 1 and "prompt_logprobs" in body
                    else {}
                ),
            }
            for n, word in enumerate(WORDS, 1)
        ]


def prompt_of(body: dict[str, Any]) -> str:
    """All text of a generation body, however it is given."""
    texts = [message["content"] for message in body.get("messages", ())]
    ids = [str(token) for token in body.get("prompt_token_ids", ())]
    return "\n".join(filter(None, [*texts, *ids, body.get("prompt")]))


def usage(prompt: int, completion: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def logprobs(token: str) -> dict[str, list[Any]]:
    return {
        "text_offset": [0],
        "tokens": [token],
        "token_logprobs": [-0.5],
        "top_logprobs": [{token: -0.5, "X": float("-inf")}],
    }


def refusal(exc: ServeError) -> Response:
    return Response(encode(error_frame(exc)), status_code=exc.status)
