"""Talks FastChat's wire: a stock controller and the workers behind it.

The prompt comes from the worker's own conversation template, never from the model's name (that is
what gives FastChat's page wrong prompts: its issues 2902, 2950). A danlu worker behind a stock
controller applies its chat template itself.
"""

from collections.abc import AsyncGenerator
from typing import Any

import httpx

from ..adapters.errors import PromptTooLong, ServeError, UnknownModel, WorkerLost
from ..adapters.wire.conversation import Prompt, render
from ..adapters.wire.fastchat import error_in
from ..adapters.wire.frames import Decoder
from ..adapters.wire.generation import GenerateBody, Usage
from .backend import Answer, Question
from .calls import call, stream


class FastChatBackend:
    """`controller` is its base address, without a slash at the end."""

    def __init__(
        self, client: httpx.AsyncClient, controller: str, *, silence: float = 600.0
    ) -> None:
        self._client, self._controller, self._silence = client, controller, silence

    async def models(self) -> list[str]:
        """Asks for the list as it is: a refresh would throw busy workers out of a stock one."""
        body = await self._ask(self._controller, "list_language_models")
        if not isinstance(body.get("models"), list):
            raise ServeError("has no list of models: is it a controller?", peer=self._controller)
        return sorted(str(name) for name in body["models"])

    async def stream(self, question: Question) -> AsyncGenerator[Answer]:
        worker = await self._worker(question.model)
        body = await self._body(worker, question)
        url = f"{worker}/worker_generate_stream"
        answer, decoder = Answer(), Decoder()
        async with stream(self._client, url, body, silence=self._silence) as chunks:
            async for raw in chunks:
                for frame in decoder.feed(raw):
                    answer = _answer(frame)
                    yield answer
        if decoder.rest or not answer.finish_reason:
            raise WorkerLost("ended the stream before the answer was complete", peer=worker)

    async def _worker(self, model: str) -> str:
        body = await self._ask(self._controller, "get_worker_address", {"model": model})
        if not body.get("address"):
            raise UnknownModel(f"no worker serves {model!r} now", param="model")
        return str(body["address"]).rstrip("/")

    async def _body(self, worker: str, question: Question) -> dict[str, Any]:
        """What the worker is asked: messages if it is ours, else a prompt with room for it."""
        sampling = question.sampling
        shared: dict[str, Any] = {
            "model": question.model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "echo": False,
        }
        if sampling.top_k != -1:
            shared["top_k"] = sampling.top_k
        ours = await call(
            self._client,
            "POST",
            f"{worker}/worker_get_capabilities",
            {"model": question.model},
        )
        if ours is not None and ours.get("messages"):
            body = GenerateBody(
                **shared, messages=list(question.messages), max_new_tokens=sampling.max_tokens
            )
            return body.to_wire()
        prompt = await self._prompt(worker, question)
        room = await self._room(worker, question.model, prompt)
        body = GenerateBody(
            **shared,
            prompt=prompt.text,
            stop=list(prompt.stop) or None,
            stop_token_ids=list(prompt.stop_token_ids) or None,
            max_new_tokens=min(sampling.max_tokens, room),
        )
        return body.to_wire()

    async def _prompt(self, worker: str, question: Question) -> Prompt:
        body = await self._ask(worker, "worker_get_conv_template", {"model": question.model})
        conv = body.get("conv")
        if not isinstance(conv, dict):
            raise ServeError("sent no conversation template", peer=worker)
        return render(conv, question.messages)

    async def _room(self, worker: str, model: str, prompt: Prompt) -> int:
        """Tokens that fit after the prompt; a stock worker cuts the prompt's front off silently.

        One less than the context leaves, because a stock worker keeps one place for itself.
        """
        details = await self._ask(worker, "model_details", {"model": model})
        counted = await self._ask(worker, "count_token", {"model": model, "prompt": prompt.text})
        context, taken = int(details["context_length"]), int(counted["count"])
        if context - taken - 1 < 1:
            raise PromptTooLong(
                f"the conversation has {taken} tokens and {model!r} takes {context}; "
                "clear the history or ask shorter"
            )
        return context - taken - 1

    async def _ask(self, peer: str, route: str, body: Any = None) -> dict[str, Any]:
        """What a route of FastChat's answers; raises ServeError where there is none."""
        answer = await call(self._client, "POST", f"{peer}/{route}", body or {})
        if answer is None:
            raise ServeError(f"has no /{route}: does it speak FastChat's wire?", peer=peer)
        error = error_in(answer)
        if error is not None:
            raise error
        return answer


def _answer(frame: dict[str, Any]) -> Answer:
    """A frame as an answer: its text is cumulative, and may differ in what was shown already."""
    error = error_in(frame)
    if error is not None:
        raise error
    usage = Usage.model_validate(frame["usage"]) if frame.get("usage") else None
    return Answer(str(frame.get("text", "")), usage, frame.get("finish_reason"))
