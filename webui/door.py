"""Which of Gradio's routes are open, and with which headers.

Gradio 3.41.0 serves the files of its working directory (/file=, /file/), fetches for others
(/proxy=), takes uploads and answers any origin. The page needs none of that: what it needs is
listed here, and everything else does not exist.
"""

from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from ..adapters.errors import UnknownRoute

OPEN = frozenset(
    {
        "/",
        "/config",
        "/favicon.ico",
        "/info",
        "/login",
        "/login_check",
        "/queue/join",
        "/queue/status",
        "/reset",
        "/robots.txt",
        "/theme.css",
        "/user",
    }
)
OPEN_UNDER = ("/api/", "/assets/", "/run/", "/static/")  # the files of the two are Gradio's own

# The page works without a word from elsewhere: an answer that embeds a picture from another site
# would tell that site who reads it. Gradio makes functions of strings, hence unsafe-eval.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' ws: wss:; object-src 'none'; base-uri 'self'; form-action 'self'"
)


class Door:
    """Lets through to `app` what the page needs; raises UnknownRoute for the rest."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["type"] == "websocket":
            await (self._app if path == "/queue/join" else WebSocketClose())(scope, receive, send)
            return
        if not (path in OPEN or path.startswith(OPEN_UNDER)):
            raise UnknownRoute(f"there is no {scope['method']} {path} here")

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = POLICY
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "same-origin"
            await send(message)

        await self._app(scope, receive, guarded)


class Rooted:
    """Takes `root` off a request's path, where a reverse proxy has left it on."""

    def __init__(self, app: ASGIApp, root: str) -> None:
        self._app, self._root = app, root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if self._root and (path == self._root or path.startswith(self._root + "/")):
            scope = {**scope, "path": path.removeprefix(self._root) or "/"}
        await self._app(scope, receive, send)
