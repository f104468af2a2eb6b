"""What is known of the workers: kept for a while, so that a request costs no extra question."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ...adapters.errors import BadRequest, UnknownRoute, WorkerLost
from ...adapters.host.http import Http
from ...adapters.wire.fastchat import Capabilities
from ...adapters.wire.parsing import parse
from .exchange import exchange

Key: TypeAlias = tuple[str, str]  # a worker's address and a model's name

QUOTE = 80  # characters of a strange answer in the log
EXPIRY = 60.0  # seconds; a worker may be replaced at its address without our being told

# What the senders of FastChat put into a generation body (fastchat.md §2.4).
STOCK_PARAMETERS = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "repetition_penalty",
        "presence_penalty",
        "frequency_penalty",
        "max_new_tokens",
        "logprobs",
        "echo",
        "stop",
        "stop_token_ids",
    }
)


@dataclass(frozen=True, slots=True)
class Profile:
    """One model at one worker. `conversation` is its template where the worker takes no messages.

    `parameters` are the fields of a generation body that it honours; `stock` is FastChat's own.
    """

    stock: bool
    context_length: int
    parameters: frozenset[str]
    deltas: bool
    embeddings: bool
    conversation: Mapping[str, Any] | None


class Profiles:
    """Owned by the event loop. Many who ask at once about one worker cause one question."""

    def __init__(
        self, http: Http, timeout: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._http, self._timeout, self._clock = http, timeout, clock
        self._known: dict[Key, tuple[float, Profile]] = {}
        self._asking: dict[Key, asyncio.Task[Profile]] = {}

    async def of(self, address: str, model: str) -> Profile:
        """The profile of `model` at the worker; raises what asking the worker raises."""
        key = (address, model)
        until, profile = self._known.get(key, (0.0, None))
        if profile is not None and self._clock() < until:
            return profile
        if key not in self._asking:
            self._asking[key] = asyncio.create_task(self._ask(*key), name="profile")
            self._asking[key].add_done_callback(lambda task: self._learn(key, task))
        # One who leaves must not take the answer from the others who wait for it.
        return await asyncio.shield(self._asking[key])

    def _learn(self, key: Key, task: "asyncio.Task[Profile]") -> None:
        del self._asking[key]
        if not task.cancelled() and task.exception() is None:
            self._known[key] = (self._clock() + EXPIRY, task.result())

    def forget(self, address: str) -> None:
        """The worker was lost: whoever comes back at its address is a stranger."""
        for key in [key for key in self._known if key[0] == address]:
            del self._known[key]

    async def _ask(self, address: str, model: str) -> Profile:
        body = {"model": model}
        try:
            answer = await self._exchange(f"{address}/worker_get_capabilities", body)
        except UnknownRoute:
            return await self._stock(address, body)
        try:
            offer = parse(Capabilities, answer)
        except BadRequest as exc:  # the worker's fault, not the client's
            raise WorkerLost("offers what cannot be read", peer=address, why=str(exc)) from exc
        return Profile(
            stock=False,
            context_length=offer.context_length,
            parameters=frozenset(offer.parameters),
            deltas=offer.deltas,
            embeddings=offer.embeddings,
            conversation=None if offer.messages else await self._conversation(address, body),
        )

    async def _stock(self, address: str, body: dict[str, str]) -> Profile:
        details = await self._exchange(f"{address}/model_details", body)
        length = details.get("context_length")
        if not isinstance(length, int):
            raise WorkerLost(
                "answered no context_length",
                peer=f"{address}/model_details",
                why=str(details)[:QUOTE],
            )
        return Profile(
            stock=True,
            context_length=length,
            parameters=STOCK_PARAMETERS,
            deltas=False,
            embeddings=True,  # some have none; those answer 404 when asked for one
            conversation=await self._conversation(address, body),
        )

    async def _conversation(self, address: str, body: dict[str, str]) -> Mapping[str, Any]:
        answer = await self._exchange(f"{address}/worker_get_conv_template", body)
        conversation = answer.get("conv")
        if not isinstance(conversation, dict):
            raise WorkerLost(
                "answered no conversation template", peer=f"{address}/worker_get_conv_template"
            )
        return conversation

    async def _exchange(self, url: str, body: dict[str, str]) -> dict[str, Any]:
        return await exchange(self._http, url, body, timeout=self._timeout)
