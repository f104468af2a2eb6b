"""Chats and completions: one way for both, with two shapes of answers."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...adapters.host.answers import read_object
from ...adapters.host.readers import attended
from ...adapters.wire.openai import ChatRequest, CompletionRequest
from ...adapters.wire.openai_answers import (
    ChatShape,
    Choice,
    CompletionShape,
    Head,
    Shape,
    usage_of,
)
from ...adapters.wire.openai_fields import Sampling
from ...adapters.wire.parsing import parse
from ...adapters.wire.pieces import Piece
from ...adapters.wire.sse import event
from .candidates import told
from .event_stream import EventStream
from .merging import merged
from .relay import Relay
from .worker_link import Ask


class Generation:
    """The routes that generate. `clock` tells unix seconds, `new_id` makes the end of an id."""

    def __init__(self, relay: Relay, clock: Callable[[], float], new_id: Callable[[], str]) -> None:
        self._relay, self._clock, self._new_id = relay, clock, new_id

    async def chat(self, request: Request) -> Response:
        wanted = parse(ChatRequest, await read_object(request))
        ask = Ask(
            wanted.model,
            messages=wanted.conversation(),
            sampling=_with_logprobs(wanted.sampling(), wanted.alternatives),
            limit=wanted.limit,
            needs=frozenset({"top_logprobs"} if wanted.top_logprobs else ()),
            called=wanted.called,
        )
        shape = ChatShape(self._head("chatcmpl-", wanted), wanted.alternatives)
        return await self._answer(request, wanted, [ask], shape, wanted.n)

    async def completions(self, request: Request) -> Response:
        wanted = parse(CompletionRequest, await read_object(request))
        chosen = wanted.logprobs is None and wanted.candidates > wanted.n  # by what is not told
        sampling = _with_logprobs(wanted.sampling(), 0 if chosen else wanted.logprobs)
        asks = [
            Ask(
                wanted.model,
                prompt=prompt,
                sampling=sampling,
                limit=wanted.max_tokens,
                echo=wanted.echo,
                called={**wanted.called, **({"logprobs": "best_of"} if chosen else {})},
            )
            for prompt in wanted.prompt
        ]
        shape = CompletionShape(self._head("cmpl-", wanted), wanted.logprobs is not None)
        return await self._answer(request, wanted, asks, shape, wanted.candidates)

    def _head(self, prefix: str, wanted: Sampling) -> Head:
        counted = wanted.stream_options.include_usage
        return Head(prefix + self._new_id(), int(self._clock()), wanted.model, counted)

    async def _answer(
        self, request: Request, wanted: Sampling, asks: Sequence[Ask], shape: Shape, made: int
    ) -> Response:
        """`made` answers to each ask, of which as many are told as are wanted."""
        numbered = [ask.numbered(i) for ask in asks for i in range(made)]
        choices = [Choice(index, echo=ask.echo) for index, ask in enumerate(numbered)]
        pieces = merged([self._relay.generate(ask) for ask in numbered])
        if wanted.stream:
            counted = wanted.stream_options.include_usage
            return EventStream(_events(pieces, choices, shape, made if counted else 0))
        await attended(request.receive, _all(pieces, choices))
        return JSONResponse(shape.whole(told(choices, wanted.n, made), usage_of(choices, made)))


async def _all(pieces: AsyncGenerator[tuple[int, Piece]], choices: Sequence[Choice]) -> None:
    async with aclosing(pieces):
        async for index, piece in pieces:
            _add(choices[index], piece)


async def _events(
    pieces: AsyncGenerator[tuple[int, Piece]],
    choices: Sequence[Choice],
    shape: Shape,
    counted: int,
) -> AsyncGenerator[bytes]:
    """The events of all choices; if `counted`, the usage of so many choices a prompt at the end."""
    opened: set[int] = set()
    async with aclosing(pieces):
        async for index, piece in pieces:
            choice = choices[index]
            _add(choice, piece)
            if index not in opened:
                opened.add(index)
                opening = shape.opening(index)
                if opening is not None:
                    yield event(opening)
            if piece.prompt_logprobs is not None:
                yield event(shape.scores(index, piece.prompt_logprobs))
            if piece.text or piece.logprobs:
                yield event(shape.chunk(index, piece.text, piece.logprobs))
            if piece.finish_reason is not None:
                yield event(shape.closing(index, piece.finish_reason))
    if counted:
        yield event(shape.counts(usage_of(choices, counted)))


def _add(choice: Choice, piece: Piece) -> None:
    choice.text = choice.text + piece.text if piece.whole is None else piece.whole
    choice.add_logprobs(piece.logprobs)
    choice.finish_reason = piece.finish_reason or choice.finish_reason
    choice.prompt_tokens = piece.prompt_tokens or choice.prompt_tokens
    choice.completion_tokens = piece.completion_tokens or choice.completion_tokens
    choice.prompt_logprobs = piece.prompt_logprobs or choice.prompt_logprobs


def _with_logprobs(sampling: dict[str, Any], alternatives: int | None) -> dict[str, Any]:
    return sampling if alternatives is None else {**sampling, "logprobs": alternatives}
