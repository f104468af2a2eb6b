"""The controller as a worker: a generation relayed from a worker that serves the model.

A frame is handed on whole or not at all, so that an error frame never lands in the middle of one.
Knows no field of a frame but its error.
"""

import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import ExitStack, aclosing
from typing import Any

from ..adapters.errors import (
    NotReady,
    NoWorker,
    ServeError,
    UnknownModel,
    WorkerLost,
    WorkerUnreachable,
    worker_of,
)
from ..adapters.host.http import Answer, Http
from ..adapters.wire.fastchat import SERVER_ERROR_MSG, error_in
from ..adapters.wire.frames import END, Decoder, encode
from .registry import Registry

log = logging.getLogger(__name__)

ELSEWHERE = (WorkerLost, NotReady)  # another worker may do better
MAX_LOST = 2  # a request that brings workers down must not bring down all of them
NOBODY = encode({"text": SERVER_ERROR_MSG, "error_code": NoWorker.code})  # FastChat's very words


class Relay:
    """Owned by the event loop. A lease lasts as long as the stream that it is for."""

    def __init__(
        self, registry: Registry, http: Http, *, silence: float, clock: Callable[[], float]
    ) -> None:
        self._registry, self._http = registry, http
        self._silence, self._clock = silence, clock

    async def frames(self, model: str, body: Mapping[str, Any]) -> AsyncGenerator[bytes]:
        """Whole frames as they come; raises ServeError if the stream ends before its end.

        A worker that is lost before its first frame is replaced by another one.
        """
        lost: dict[str, ServeError] = {}
        while True:
            with ExitStack() as stack:
                address = self._leased(stack, model, lost)
                if address is None:
                    yield NOBODY
                    return
                begun, asked = False, self._clock()
                try:
                    async with aclosing(self._from(address, body)) as frames:
                        async for part in frames:
                            begun = True
                            yield part
                    return
                except ServeError as exc:
                    exc.blame(worker_of(model))
                    self._note(address, asked, exc)
                    if not isinstance(exc, ELSEWHERE) or begun:
                        raise
                    lost[address] = exc
                    if _poisonous(lost):
                        raise

    def _leased(self, stack: ExitStack, model: str, lost: Mapping[str, ServeError]) -> str | None:
        """A worker until `stack` is left; None if there is none, or the error of the last one."""
        try:
            return stack.enter_context(self._registry.lease(model, lost))
        except (UnknownModel, NoWorker):
            if lost:
                raise [*lost.values()][-1] from None
            return None

    async def _from(self, address: str, body: Mapping[str, Any]) -> AsyncGenerator[bytes]:
        url = f"{address}/worker_generate_stream"
        async with self._http.stream(url, body, silence=self._silence) as answer:
            if answer.status != 200:
                raise await _refusal(url, answer)
            silent, rest = True, b""
            async for chunk in answer.chunks():
                whole, end, rest = (rest + chunk).rpartition(END)
                if end:
                    silent = False
                    yield whole + end
            if rest:
                raise WorkerLost("ended the stream in the middle of a frame", peer=url)
            if silent:
                raise ServeError("answered nothing", peer=url)

    def _note(self, address: str, asked: float, exc: ServeError) -> None:
        if exc.status >= ServeError.status:
            log.warning("worker failed address=%s error=%s: %s", address, exc.slug, exc.logged)
        if isinstance(exc, WorkerUnreachable | NotReady):
            self._registry.lose(address, asked, exc.logged)


async def _refusal(url: str, answer: Answer) -> ServeError:
    """What a worker means by another status than 200: ours says it in a frame, as its error."""
    if answer.status == NotReady.status:
        return NotReady("is not ready", peer=url)
    raw = await answer.read()
    frame = next(Decoder().feed(raw), {})
    said = raw[:200].decode("utf-8", "replace")
    return error_in(frame) or ServeError(f"answered {answer.status}", peer=url, why=said)


def _poisonous(lost: Mapping[str, ServeError]) -> bool:
    """Whether the request may be what the workers die of: they took it and were gone."""
    taken = [e for e in lost.values() if not isinstance(e, WorkerUnreachable | NotReady)]
    return len(taken) >= MAX_LOST
