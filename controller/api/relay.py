"""Gets answers from whichever worker can give them, and tries another one while nothing was said.

Owns the leases: each is given back once, when its answer ends, fails, or is left by its reader.
"""

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, TypeVar

from ...adapters.errors import (
    NoWorker,
    Overloaded,
    ServeError,
    UnknownModel,
    WorkerLost,
    WorkerUnreachable,
    shown,
    worker_of,
)
from ...adapters.wire.pieces import Piece
from ..backend import Backend
from .profiles import Profiles
from .worker_link import Ask, WorkerLink

log = logging.getLogger(__name__)

ATTEMPTS = 3  # a request that three workers were lost over may be what they were lost of
ELSEWHERE = (WorkerLost, NoWorker, Overloaded)  # another worker may do better

T = TypeVar("T")


class Relay:
    """Owned by the event loop."""

    def __init__(
        self,
        backend: Backend,
        link: WorkerLink,
        profiles: Profiles,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend, self._link, self._profiles, self._clock = backend, link, profiles, clock

    async def generate(self, ask: Ask) -> AsyncGenerator[Piece]:
        """The pieces of one answer; one line in the log when it is over, however that came."""
        begun, last, outcome = self._clock(), Piece(""), "left"
        workers: list[str] = []

        def talk(address: str) -> AsyncGenerator[Piece]:
            workers.append(address)
            return self._link.generate(address, ask)

        try:
            async with aclosing(self._tried(ask.model, talk)) as pieces:
                async for piece in pieces:
                    last = piece
                    yield piece
            outcome = last.finish_reason or "unfinished"
        except ServeError as exc:
            outcome = exc.slug
            raise
        finally:
            log.info(
                "answer model=%s worker=%s outcome=%s prompt_tokens=%s completion_tokens=%s"
                " seconds=%.3f",
                *(shown(ask.model), ",".join(workers), outcome),
                *(last.prompt_tokens, last.completion_tokens, self._clock() - begun),
            )

    async def embed(self, model: str, texts: Sequence[str], encoding: str) -> tuple[list[Any], int]:
        """One vector a text, as floats or as the worker's base64, and the number of tokens; one
        line in the log when it is over, however that came."""
        begun, tokens, outcome = self._clock(), 0, "left"
        workers: list[str] = []

        async def talk(address: str) -> AsyncGenerator[tuple[list[Any], int]]:
            workers.append(address)
            yield await self._link.embed(address, model, texts, encoding)

        try:
            vectors, tokens = await self._one(model, talk)
            outcome = "done"
        except ServeError as exc:
            outcome = exc.slug
            raise
        finally:
            log.info(
                "embeddings model=%s worker=%s outcome=%s texts=%d prompt_tokens=%s seconds=%.3f",
                *(shown(model), ",".join(workers), outcome),
                *(len(texts), tokens, self._clock() - begun),
            )
        return vectors, tokens

    async def measure(self, model: str, prompt: str) -> tuple[int, int]:
        """The tokens of `prompt`, and of the context."""

        async def talk(address: str) -> AsyncGenerator[tuple[int, int]]:
            context = await self._link.context_length(address, model)
            yield await self._link.count(address, model, prompt), context

        return await self._one(model, talk)

    async def _one(self, model: str, talk: Callable[[str], AsyncGenerator[T]]) -> T:
        async with aclosing(self._tried(model, talk)) as results:
            return await anext(results)

    async def _tried(
        self, model: str, talk: Callable[[str], AsyncGenerator[T]]
    ) -> AsyncGenerator[T]:
        """What `talk` says with one worker; with the next one if it fails before its first word."""
        failed: dict[str, ServeError] = {}
        for attempt in range(1, ATTEMPTS + 1):
            begun = False
            async with self._lease(model, failed) as address, aclosing(talk(address)) as words:
                try:
                    async for word in words:
                        begun = True
                        yield word
                    return
                except ServeError as exc:
                    exc.blame(worker_of(model))
                    await self._note(address, exc)
                    if begun or attempt == ATTEMPTS or not isinstance(exc, ELSEWHERE):
                        raise
                    failed[address] = exc

    async def _note(self, address: str, exc: ServeError) -> None:
        if isinstance(exc, ELSEWHERE) or exc.status >= ServeError.status or exc.peer:
            log.warning("worker failed address=%s error=%s: %s", address, exc.slug, exc.logged)
        if isinstance(exc, WorkerLost):
            self._profiles.forget(address)
        if isinstance(exc, WorkerUnreachable):
            await self._backend.lost(address)

    @asynccontextmanager
    async def _lease(self, model: str, failed: dict[str, ServeError]) -> AsyncIterator[str]:
        async with AsyncExitStack() as stack:
            try:
                lease = self._backend.lease(model, frozenset(failed))
                address = await stack.enter_async_context(lease)
            except (UnknownModel, NoWorker) as exc:
                if not failed:
                    raise await self._nobody(model, exc) from exc
                address = await self._same_again(stack, model, failed)
            yield address.rstrip("/")

    async def _same_again(
        self, stack: AsyncExitStack, model: str, failed: dict[str, ServeError]
    ) -> str:
        """A lone worker that broke a connection off may still be there; others failed for good."""
        gone = frozenset(a for a, exc in failed.items() if type(exc) is not WorkerLost)
        last = next(reversed(failed.values()))
        if len(gone) == len(failed):
            raise last
        try:
            return await stack.enter_async_context(self._backend.lease(model, gone))
        except (UnknownModel, NoWorker):
            raise last from None

    async def _nobody(self, model: str, exc: ServeError) -> ServeError:
        if isinstance(exc, UnknownModel):
            return unknown_model(model, await self._backend.models())
        return exc


def unknown_model(model: str, models: Sequence[str]) -> ServeError:
    """FastChat's sentence for a model that nobody serves; NoWorker if nothing is served at all."""
    if not models:
        return NoWorker("no model is served yet: no worker has registered", retry_after=5)
    allowed = "&&".join(models)
    return UnknownModel(f"Only {allowed} allowed now, your model {shown(model)}", param="model")
