"""Speaks to one worker, and hides whether it is danlu's or a stock FastChat one."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Self

from ...adapters.errors import (
    SOMEBODY,
    BadRequest,
    PromptTooLong,
    ServeError,
    UnknownRoute,
    WorkerLost,
    shown,
)
from ...adapters.host.http import Answer, Http
from ...adapters.wire.conversation import Prompt as Rendered, render
from ...adapters.wire.fastchat import error_in
from ...adapters.wire.frames import Decoder
from ...adapters.wire.generation import Message
from ...adapters.wire.openai import Prompt
from ...adapters.wire.pieces import Frames, NewFrames, Piece, WholeFrames
from .exchange import exchange, reported
from .profiles import QUOTE, Profile, Profiles

CHOICE = "choice"  # asks for nothing where the worker has no seed: who does not know it needs none


@dataclass(frozen=True, slots=True)
class Ask:
    """One answer that is asked for: a conversation or a prompt, and how to go on from there.

    `sampling` holds the fields of a generation body that ask for something; `limit` None stands
    for what the context has left; `needs` names what else a worker must know to be asked. `called`
    is what the client has another name for, and that name. `choice` numbers the answers to the same
    prompt, for workers that have a seed of their own.
    """

    model: str
    messages: Sequence[Message] = ()
    prompt: Prompt | None = None
    sampling: dict[str, Any] = field(default_factory=dict)
    limit: int | None = None
    echo: bool = False
    needs: frozenset[str] = frozenset()
    called: Mapping[str, str] = field(default_factory=dict)
    choice: int = 0

    def numbered(self, index: int) -> Self:
        """The ask for answer `index` to the same prompt: a seed of its own, seed + index.

        What the model makes of the prompt is asked for once, with answer 0.
        """
        if index == 0:
            return self
        sampling = {k: v for k, v in self.sampling.items() if k != "prompt_logprobs"}
        if "seed" in sampling:
            sampling["seed"] += index
        return replace(self, sampling=sampling, choice=index)


class WorkerLink:
    """The questions that the API plane has for a worker. `timeout` is in seconds of silence."""

    def __init__(self, http: Http, profiles: Profiles, timeout: float) -> None:
        self._http, self._profiles, self._timeout = http, profiles, timeout

    async def generate(self, address: str, ask: Ask) -> AsyncGenerator[Piece]:
        """The answer as it is made. Leaving early ends it at the worker, too."""
        profile = await self._profiles.of(address, ask.model)
        _refuse_unknown(profile, ask)
        body = await self._body(address, profile, ask)
        url = f"{address}/worker_generate_stream"
        async with self._http.stream(url, body, silence=self._timeout) as answer:
            if answer.status != 200:
                raise _as_asked(reported(url, answer.status, await answer.read()), ask)
            frames = NewFrames() if profile.deltas else WholeFrames()
            async with aclosing(_pieces(answer, frames)) as pieces:
                async for piece in pieces:
                    yield piece

    async def embed(
        self, address: str, model: str, texts: Sequence[str], encoding: str
    ) -> tuple[list[Any], int]:
        """One vector a text, as floats or, where the worker is ours, as asked; and the tokens."""
        profile = await self._profiles.of(address, model)
        body: dict[str, Any] = {"model": model, "input": list(texts)}
        if encoding == "base64" and not profile.stock:
            body["encoding_format"] = encoding  # a stock one's base64 may be of half floats
        try:
            if not profile.embeddings:
                raise UnknownRoute("the worker says so")
            answer = await self._exchange(f"{address}/worker_get_embeddings", body)
            vectors, tokens = answer["embedding"], answer["token_num"]
        except UnknownRoute as exc:
            raise BadRequest(f"model {shown(model)!r} gives no embeddings", param="model") from exc
        except KeyError as exc:
            raise WorkerLost(f"answered embeddings without {exc}", peer=address) from exc
        if not (isinstance(vectors, list) and isinstance(tokens, int)):
            said = str(answer)[:QUOTE]
            raise WorkerLost("answered embeddings that cannot be read", peer=address, why=said)
        return vectors, tokens

    async def count(self, address: str, model: str, prompt: str) -> int:
        """The number of tokens of `prompt`, as the worker counts them."""
        body = {"model": model, "prompt": prompt}
        answer = await self._exchange(f"{address}/count_token", body)
        count = answer.get("count")
        if not isinstance(count, int):
            raise WorkerLost(
                "answered no count of tokens",
                peer=f"{address}/count_token",
                why=str(answer)[:QUOTE],
            )
        return count

    async def context_length(self, address: str, model: str) -> int:
        return (await self._profiles.of(address, model)).context_length

    async def _body(self, address: str, profile: Profile, ask: Ask) -> dict[str, Any]:
        body = {"model": ask.model, "echo": ask.echo, **ask.sampling}
        if profile.deltas:
            body["delta"] = True
        if ask.choice and CHOICE in profile.parameters:
            body[CHOICE] = ask.choice
        if ask.messages and profile.conversation is None:
            body["messages"] = [{"role": m.role, "content": m.content} for m in ask.messages]
        elif ask.messages:
            assert profile.conversation is not None
            _put_rendered(body, render(profile.conversation, ask.messages))
        elif isinstance(ask.prompt, tuple):
            body["prompt_token_ids"] = list(ask.prompt)
        else:
            body["prompt"] = ask.prompt
        body["max_new_tokens"] = await self._limit(address, profile, ask, body.get("prompt", ""))
        return body

    async def _limit(self, address: str, profile: Profile, ask: Ask, prompt: str) -> int:
        """The most new tokens; a worker of ours fits it into the context by itself."""
        room = profile.context_length
        if profile.stock:
            count = await self.count(address, ask.model, prompt)
            if count >= room:
                raise too_long(room, count)
            # With a limit that fills the context FastChat's worker cuts the prompt's first token.
            room = max(room - count - 1, 1)
        return min(ask.limit or room, room)

    async def _exchange(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        return await exchange(self._http, url, body, timeout=self._timeout)


def too_long(context: int, count: int) -> PromptTooLong:
    """FastChat's sentence for a prompt that leaves no room for an answer."""
    return PromptTooLong(
        f"This model's maximum context length is {context} tokens. However, your messages "
        f"resulted in {count} tokens. Please reduce the length of the messages."
    )


async def _pieces(answer: Answer, frames: Frames) -> AsyncGenerator[Piece]:
    decoder = Decoder()
    async for chunk in answer.chunks():
        for frame in decoder.feed(chunk):
            error = error_in(frame)
            if error is not None:
                raise error
            yield _piece(frames, frame)
    if decoder.rest:
        raise WorkerLost("ended the stream in the middle of a frame", peer=SOMEBODY)
    last = frames.end()
    if last is not None:
        yield last


def _piece(frames: Frames, frame: dict[str, Any]) -> Piece:
    try:
        return frames.piece(frame)
    except (AttributeError, TypeError, ValueError) as exc:
        said = f"{exc!r} of {str(frame)[:QUOTE]}"
        raise WorkerLost("sent a frame that cannot be read", peer=SOMEBODY, why=said) from exc


def _as_asked(error: ServeError, ask: Ask) -> ServeError:
    """What a worker refuses, by the name that the API's clients have for the field."""
    if not isinstance(error, BadRequest):
        return error
    sentence, param = error.told, error.param
    for wire, name in {"prompt_token_ids": "prompt", **ask.called}.items():
        if f"'{wire}'" in sentence:
            sentence, param = sentence.replace(f"'{wire}'", f"'{name}'"), name
    return type(error)(sentence, param=param, retry_after=error.retry_after)


def _refuse_unknown(profile: Profile, ask: Ask) -> None:
    known = profile.parameters | {"temperature", "top_p"}
    if not profile.stock:
        known |= {"top_logprobs"} if "logprobs" in known else set()
    model = shown(ask.model)
    for wire in sorted((ask.sampling.keys() | ask.needs) - known):
        name = ask.called.get(wire, wire)
        raise BadRequest(
            f"'{name}' is not supported by the worker of model {model!r}; leave it out",
            param=name,
        )
    if profile.stock and isinstance(ask.prompt, tuple):
        raise BadRequest(
            f"'prompt' is a list of token ids; the worker of model {model!r} takes only text",
            param="prompt",
        )


def _put_rendered(body: dict[str, Any], prompt: Rendered) -> None:
    """What ends an answer to the template's prompt is added to what the client asked for."""
    body["prompt"] = prompt.text
    body["stop"] = [*body.get("stop", ()), *prompt.stop]
    body["stop_token_ids"] = [*body.get("stop_token_ids", ()), *prompt.stop_token_ids]
