"""Lets in who sends one of the API keys; the probes of health and readiness need none."""

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from ...adapters.errors import Unauthorized
from ...adapters.host.answers import answer_error
from .settings import ApiKeys

OPEN = frozenset({"/health", "/ready"})
SCHEME = "bearer "


class KeyGate:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, keys: ApiKeys) -> None:
        self.app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN or self._knows(scope):
            await self.app(scope, receive, send)
            return
        refusal = Unauthorized("a valid API key is needed: send 'Authorization: Bearer KEY'")
        answer = await answer_error(Request(scope), refusal)
        await answer(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        given = Headers(scope=scope).get("authorization", "")
        scheme, key = given[: len(SCHEME)], given[len(SCHEME) :].strip()
        return scheme.lower() == SCHEME and key in self._keys
