"""Finds out how to talk: danlu's API where the controller names one, FastChat's wire elsewhere."""

import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import httpx

from .api import ApiBackend
from .backend import Answer, ChatBackend, Question
from .calls import call
from .fastchat import FastChatBackend
from .settings import WebuiSettings

log = logging.getLogger(__name__)

KEEP = 30.0  # seconds for which what a controller said about its API is believed


class Client:
    """A ChatBackend in front of the one that fits. Owned by the event loop."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        settings: WebuiSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http, self._settings, self._clock = http, settings, clock
        self._backend: ChatBackend | None = None
        self._address: str | None = None
        self._asked = 0.0

    async def models(self) -> list[str]:
        backend = await self._chosen()
        try:
            return await backend.models()
        except Exception:
            self._backend = None  # it may have moved: ask the controller again next time
            raise

    async def stream(self, question: Question) -> AsyncGenerator[Answer]:
        backend = await self._chosen()
        async with aclosing(backend.stream(question)) as answers:
            async for answer in answers:
                yield answer

    async def _chosen(self) -> ChatBackend:
        if self._settings.api_url:
            return self._api(self._settings.api_url)
        if self._backend is None or self._clock() - self._asked > KEEP:
            address = await self._ask()
            if self._backend is None or address != self._address:
                self._backend = self._api(address) if address else self._fastchat()
                log.info("talking to %s", address or f"{self._controller} in FastChat's wire")
            self._address, self._asked = address, self._clock()
        return self._backend

    async def _ask(self) -> str:
        """The address of the controller's API; empty for a controller without one."""
        body = await call(self._http, "POST", f"{self._controller}/get_api_address", {})
        return str(body.get("address") or "") if body else ""

    @property
    def _controller(self) -> str:
        return self._settings.controller_url.rstrip("/")

    def _api(self, url: str) -> ChatBackend:
        return ApiBackend(
            self._http, url, key=self._settings.api_key, silence=self._settings.silence_timeout
        )

    def _fastchat(self) -> ChatBackend:
        return FastChatBackend(self._http, self._controller, silence=self._settings.silence_timeout)
