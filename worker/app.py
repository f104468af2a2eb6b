"""The worker's routes: FastChat's seven, what danlu adds, and how it is doing. Knows no device."""

import asyncio
import base64
import logging
import struct
from collections.abc import Callable, Sequence
from typing import TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .. import __version__
from ..adapters.errors import BadRequest, UnknownModel, shown, stopping
from ..adapters.host.answers import error_handlers, object_in, read_body, read_object
from ..adapters.host.readers import attended
from ..adapters.wire.conversation import numbered
from ..adapters.wire.fastchat import Capabilities, CountBody, EmbeddingsBody, WorkerQuery
from ..adapters.wire.generation import GenerateBody
from ..adapters.wire.parsing import parse
from .adapter import BASE, Adapter
from .adapter_routes import AdapterDoor
from .engine import AnyEngine, Embeddings, Engine, J, served_names
from .framing import Framer
from .loading import Loading
from .outbox import Outbox
from .responses import (
    Endpoint,
    FrameStream,
    in_a_frame,
    in_an_object,
    last_frame,
    reading,
)
from .settings import WorkerSettings

log = logging.getLogger(__name__)

T = TypeVar("T")

SPEED = 1  # what every FastChat worker reports
LARGE = 8192  # characters from which tokenising takes longer than a change of thread


def build_app(settings: WorkerSettings, loading: Loading) -> Starlette:
    """The worker's app; until `loading` has an engine it answers that it is not ready."""
    door = Door(settings.names, settings.fastchat_version, loading)
    adapters = AdapterDoor(settings.adapter_dir, lambda: loading.engine)
    return Starlette(
        routes=[
            _post("/worker_generate_stream", in_a_frame(door.generate_stream)),
            _post("/worker_generate", in_an_object(door.generate)),
            _post("/worker_get_embeddings", in_an_object(door.embeddings)),
            _post("/worker_get_status", door.status),
            _post("/count_token", door.count_token),
            _post("/worker_get_conv_template", door.conversation),
            _post("/model_details", door.details),
            _post("/worker_get_capabilities", door.capabilities),
            _post("/worker_load_adapter", adapters.load),
            _post("/worker_unload_adapter", adapters.unload),
            Route("/health", door.health),
            Route("/ready", door.ready),
        ],
        exception_handlers=error_handlers(),
    )


class Door:
    """Every request is checked here, once, and handed to the engine. Owned by the event loop."""

    def __init__(self, names: Sequence[str], fastchat_version: str, loading: Loading) -> None:
        self._given, self._fastchat, self._loading = names, fastchat_version, loading

    @property
    def _names(self) -> Sequence[str]:
        return self._given or self._loading.engine.card.names

    async def generate_stream(self, request: Request) -> Response:
        engine = self._loading.engine
        body = await self._generation(request)
        framer = Framer(delta=body.delta, logprobs=body.logprobs is not None)
        return FrameStream(await _submitted(engine, body), framer)

    async def generate(self, request: Request) -> Response:
        engine = self._loading.engine
        body = await self._generation(request)
        framer = Framer(delta=body.delta, logprobs=body.logprobs is not None, whole=True)
        box = await _submitted(engine, body)
        with reading("generate", box, framer):
            return JSONResponse(await attended(request.receive, last_frame(box, framer)))

    async def embeddings(self, request: Request) -> Response:
        engine = self._loading.engine
        body = parse(EmbeddingsBody, await read_object(request))
        adapter = self._meant(body.model)
        if not engine.card.embeddings:
            raise BadRequest("this model offers no embeddings; ask a worker that does")
        if adapter is not BASE:
            raise BadRequest(
                f"embeddings are made without adapters; ask for {self._names[0]}", param="model"
            )
        made = await attended(request.receive, _embedded(engine, body.input))
        as_base64 = body.encoding_format == "base64"
        vectors = [_base64(v) for v in made.vectors] if as_base64 else made.vectors
        return JSONResponse({"embedding": vectors, "token_num": made.tokens})

    async def status(self, _: Request) -> Response:
        busy = self._loading.engine.queue_length()
        return JSONResponse(
            {"model_names": list(self._served()), "speed": SPEED, "queue_length": busy}
        )

    async def count_token(self, request: Request) -> Response:
        engine = self._loading.engine
        body = parse(CountBody, await read_object(request))
        self._meant(body.model)
        count = await asyncio.to_thread(engine.count, body.prompt)
        return JSONResponse({"count": count, "error_code": 0})

    async def conversation(self, request: Request) -> Response:
        engine, _ = await self._asked(request)
        return JSONResponse({"conv": numbered(engine.card.conversation, self._fastchat)})

    async def details(self, request: Request) -> Response:
        engine, adapter = await self._asked(request)
        return JSONResponse({"context_length": engine.card.context_length - adapter.entries})

    async def capabilities(self, request: Request) -> Response:
        engine, adapter = await self._asked(request)
        offered = Capabilities(
            version=__version__,
            context_length=engine.card.context_length - adapter.entries,
            deltas=True,
            messages=True,
            embeddings=engine.card.embeddings and adapter is BASE,
            parameters=sorted(engine.card.parameters),
        )
        return JSONResponse(offered.model_dump())

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(self, _: Request) -> Response:
        progress = self._loading.progress
        state = {
            "state": progress.state,
            "progress": progress.fraction,
            "detail": progress.detail,
        }
        if progress.state == "ready":
            return JSONResponse(state)
        refusal = self._loading.refusal()
        return JSONResponse({**state, **refusal.envelope()}, status_code=refusal.status)

    async def _generation(self, request: Request) -> GenerateBody:
        body = parse(GenerateBody, await read_object(request))
        self._meant(body.model)
        log.debug("asked body=%.2000s", body.to_wire())
        return body

    async def _asked(self, request: Request) -> tuple[AnyEngine, Adapter]:
        """The engine that a question about the model is for, and the adapter that its name means;
        the question's body may be left out."""
        engine = self._loading.engine
        raw = await read_body(request)
        return engine, self._meant(parse(WorkerQuery, object_in(raw or b"{}")).model)

    def _served(self) -> Sequence[str]:
        return served_names(self._names, self._loading.engine)

    def _meant(self, model: str | None) -> Adapter:
        """The adapter that a model's name means; raises UnknownModel for one that is not served."""
        adapters = self._loading.engine.adapters
        if adapters is not None:
            return adapters.adapter(model)
        if model is not None and model not in self._names:
            ours = ", ".join(self._names)
            raise UnknownModel(f"this worker serves {ours}, not {shown(model)!r}", param="model")
        return BASE


async def _submitted(engine: Engine[J], body: GenerateBody) -> Outbox:
    """A box that the engine fills; nothing is taken from it before the body is found good."""
    size = len(body.prompt or "") + sum(len(m.content) for m in body.messages or ())
    much = LARGE + 1 if body.structured_outputs else 0  # whatever its size, it takes its time
    job = await _aside(max(size, much), lambda: engine.admit(body))
    box = Outbox(asyncio.get_running_loop())
    engine.submit(job, box)
    return box


async def _embedded(engine: AnyEngine, texts: list[str]) -> Embeddings:
    made = asyncio.wrap_future(engine.embed(texts))
    try:
        await asyncio.wait({made})
        if made.cancelled():  # by the engine, which is closing
            raise stopping()
        return made.result()
    finally:
        made.cancel()  # asks nothing of one that is done: the reader left while it waited


async def _aside(characters: int, work: Callable[[], T]) -> T:
    """Host work on a text: at once if it is short, else where it does not hold up the loop."""
    return await asyncio.to_thread(work) if characters > LARGE else work()


def _base64(vector: list[float]) -> str:
    """As FastChat packs a vector: float32, little-endian."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _post(path: str, endpoint: Endpoint) -> Route:
    return Route(path, endpoint, methods=["POST"])
