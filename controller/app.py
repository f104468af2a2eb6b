"""The registry plane: FastChat's ten routes of a controller, and what danlu adds."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..adapters.errors import ServeError
from ..adapters.host.answers import error_handlers, read_object
from ..adapters.host.http import Http
from ..adapters.wire.fastchat import Departure, HeartBeat, ModelBody, Registration
from ..adapters.wire.parsing import parse
from .addresses import BoundAddress, address_in, checked_address
from .registry import Registry
from .relay import Relay
from .repeat import repeated
from .rounds import STATUS_TIMEOUT, Rounds
from .settings import ControllerSettings
from .streaming import FrameStream, refusal

SWEEP = 1.0  # seconds between two looks for workers that went quiet; a look costs nothing
PROBE_TIMEOUT = 2.0  # seconds for a status that nobody waits for; a slow worker is left alone


def build_app(
    settings: ControllerSettings,
    registry: Registry,
    http: Http,
    *,
    api: BoundAddress | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Starlette:
    """The app around `registry`. `http` must be open while the app is used; `api` is where the API
    of this process is, if there is one."""
    rounds = Rounds(registry, http, clock)
    relay = Relay(registry, http, silence=settings.worker_timeout, clock=clock)
    desk = Desk(registry, rounds, relay, api, clock)

    async def probe() -> None:
        await rounds.visit_all(PROBE_TIMEOUT)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with (
            repeated("sweep", rounds.expire, SWEEP),
            repeated("probe", probe, settings.probe_interval),
        ):
            yield

    return Starlette(
        routes=[
            _post("/register_worker", desk.register),
            _post("/refresh_all_workers", desk.refresh),
            _post("/list_models", desk.models),
            _post("/list_multimodal_models", desk.multimodal_models),
            _post("/list_language_models", desk.language_models),
            _post("/get_worker_address", desk.worker_address),
            _post("/receive_heart_beat", desk.heart_beat),
            _post("/worker_generate_stream", desk.generate_stream),
            _post("/worker_get_status", desk.status),
            Route("/test_connection", desk.test_connection),
            _post("/unregister_worker", desk.unregister),
            _post("/get_api_address", desk.api_address),
            Route("/health", desk.health),
            Route("/ready", desk.ready),
        ],
        exception_handlers=error_handlers(),
        lifespan=lifespan,
    )


class Desk:
    """One method a route. Every body is checked here, once."""

    def __init__(
        self,
        registry: Registry,
        rounds: Rounds,
        relay: Relay,
        api: BoundAddress | None,
        clock: Callable[[], float],
    ) -> None:
        self._registry, self._rounds, self._relay = registry, rounds, relay
        self._api, self._clock = api, clock

    async def register(self, request: Request) -> Response:
        body = await read_object(request)
        status = body.get("worker_status") or None  # FastChat: anything empty asks to be asked
        who = parse(Registration, {**body, "worker_status": status})
        await self._rounds.introduce(checked_address(who.worker_name), who)
        return JSONResponse(None)

    async def unregister(self, request: Request) -> Response:
        who = parse(Departure, await read_object(request))
        return JSONResponse({"exist": self._registry.leave(address_in(who.worker_name))})

    async def heart_beat(self, request: Request) -> Response:
        beat = parse(HeartBeat, await read_object(request))
        address = address_in(beat.worker_name)
        known = self._registry.beat(address, beat.queue_length, self._clock())
        return JSONResponse({"exist": known})

    async def refresh(self, _: Request) -> Response:
        await self._rounds.visit_all(STATUS_TIMEOUT)
        return JSONResponse(None)

    async def models(self, _: Request) -> Response:
        return JSONResponse({"models": self._registry.models()})

    async def multimodal_models(self, _: Request) -> Response:
        return JSONResponse({"models": self._registry.models(multimodal=True)})

    async def language_models(self, _: Request) -> Response:
        return JSONResponse({"models": self._registry.models(multimodal=False)})

    async def worker_address(self, request: Request) -> Response:
        model = parse(ModelBody, await read_object(request)).model
        return JSONResponse({"address": await self._rounds.address_for(model)})

    async def generate_stream(self, request: Request) -> Response:
        try:
            body = await read_object(request)
            model = parse(ModelBody, body).model
        except ServeError as exc:
            return refusal(exc)
        return FrameStream(self._relay.frames(model, body))

    async def status(self, _: Request) -> Response:
        total = self._registry.total()
        speed = int(total.speed) if total.speed.is_integer() else total.speed  # FastChat's is 1
        return JSONResponse({**total.model_dump(), "speed": speed})

    async def test_connection(self, _: Request) -> Response:
        return JSONResponse("success")

    async def api_address(self, request: Request) -> Response:
        address = self._api.seen_by(request.url.hostname or "") if self._api else ""
        return JSONResponse({"address": address})

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(self, _: Request) -> Response:
        return JSONResponse({"state": "ready", "progress": 1.0, "detail": ""})


def _post(path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
    return Route(path, endpoint, methods=["POST"])
