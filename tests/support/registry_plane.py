"""The controller's registry plane in the test's own event loop, with a clock that a test turns."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette

from danlu.adapters.host.http import Http
from danlu.adapters.host.serving import bind
from danlu.controller.addresses import BoundAddress
from danlu.controller.app import build_app
from danlu.controller.dispatch import POLICIES
from danlu.controller.registry import Registry
from danlu.controller.settings import ControllerSettings

from .toy_worker import ToyWorker

BOUND = 30.0  # seconds that anything in this process may take on a busy machine
STEP = 0.01  # seconds between two looks


class Clock:
    """Stands still until the test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def until(done: Callable[[], object]) -> None:
    """Return once `done()` is true; fail after BOUND."""
    async with asyncio.timeout(BOUND):
        while not done():
            await asyncio.sleep(STEP)


@dataclass(frozen=True, slots=True)
class Plane:
    """An app, what it shares, and a client that reaches it without a socket."""

    app: Starlette
    registry: Registry
    http: Http
    clock: Clock
    client: httpx.AsyncClient

    async def post(self, path: str, body: Any = None) -> Any:
        """The JSON of an answer that must be a 200."""
        answer = await self.client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def join(self, worker: ToyWorker, **more: Any) -> None:
        assert await self.post("/register_worker", worker.registration(**more)) is None

    async def stream(self, model: str = "toy", **more: Any) -> list[dict[str, Any]]:
        """The frames of a generation, to their end."""
        answer = await self.client.post("/worker_generate_stream", json={"model": model, **more})
        *frames, rest = answer.content.split(b"\0")
        assert rest == b"", f"the stream ends in the middle of a frame: {rest!r}"
        return [json.loads(frame) for frame in frames]


@asynccontextmanager
async def a_plane(api: BoundAddress | None = None, **settings: Any) -> AsyncIterator[Plane]:
    """A controller without its background tasks; `settings` are fields of ControllerSettings."""
    chosen, clock = ControllerSettings(**settings), Clock()
    registry = Registry(chosen.heart_beat_expiration, POLICIES[chosen.dispatch_method])
    async with Http() as http:
        app = build_app(chosen, registry, http, api=api, clock=clock)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://controller") as client:
            yield Plane(app, registry, http, clock, client)


@asynccontextmanager
async def listening(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """A client of `app` behind a real socket, its background tasks running."""
    sock = bind("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5)
    )
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    try:
        async with httpx.AsyncClient(base_url=url, timeout=BOUND, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        await serving
        sock.close()
