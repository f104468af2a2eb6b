"""One worker's life: listen, load, register, serve, drain. Knows no route and no model."""

import asyncio
import logging
import signal
import socket
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from enum import Enum
from functools import partial

from ..adapters.devices.static_tls import cure
from ..adapters.errors import DeviceLost, StartError
from ..adapters.host.http import Http
from ..adapters.host.serving import Listener, serve, tls_from
from ..adapters.host.systemd import notify
from .address import derived_address, unreachable_for
from .app import build_app
from .engine import AnyEngine, served_names
from .engines import in_a_thread
from .loading import Loading, Progress
from .presence import while_present
from .registration import Identity, registered
from .settings import WorkerSettings
from .waiting import tell

log = logging.getLogger(__name__)

CLOSING = 5.0  # seconds that answers get to carry the error of an engine that was closed on them
REMEDY = "it is on another machine; set --host 0.0.0.0, or --worker-address"


class End(Enum):
    """How a worker's life ended; after all but the first there are threads left to leave behind."""

    SERVED = "stopped, with every answer finished or ended"
    LEFT = "stopped while the model was still being loaded"
    LOST = "without its device; it is to be started again"


Loader = Callable[[WorkerSettings, Progress], AnyEngine]


async def host(
    settings: WorkerSettings, sock: socket.socket, load: Loader, progress: Progress
) -> End:
    """Serve until a stop signal, or until the device is lost.

    Raises StartError if the model cannot be loaded. Questions about the worker are answered from
    the first moment on, questions to the model once it is there.
    """
    life = _Life(settings, sock, progress)
    serving = life.listen()
    try:
        engine = await life.load(load)
    except StartError:
        await serving
        raise
    except DeviceLost as exc:
        log.error("%s", exc)
        await serving
        return End.LOST
    if engine is None:
        await serving
        return End.LEFT
    try:
        await life.be_known(engine)
        if engine.lost.done():
            return await _without_device(serving)
        await asyncio.wait({serving}, timeout=settings.drain_seconds)
    finally:
        await asyncio.to_thread(engine.close)
    await serving
    return End.SERVED


async def _without_device(serving: "asyncio.Task[None]") -> End:
    """Answers get to say what happened; a thread that hangs in the driver is not waited for."""
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait({serving}, timeout=CLOSING)
    return End.LOST


class _Life:
    """The stations of one worker, in the order of its methods. Owned by the event loop."""

    def __init__(self, settings: WorkerSettings, sock: socket.socket, progress: Progress) -> None:
        self._settings = settings
        self._loading = Loading(progress)
        self._stopping = asyncio.Event()
        tls = tls_from(settings.ssl, settings.ssl_keyfile, settings.ssl_certfile)
        self._listener = Listener(build_app(settings, self._loading), sock, tls)
        self._address = settings.worker_address or derived_address(
            settings.host,
            self._listener.port,
            tls=settings.ssl,
            controllers=settings.controller_address,
        )

    def listen(self) -> "asyncio.Task[None]":
        """From now on every question is answered, if only with `not ready`."""
        grace = self._settings.drain_seconds + CLOSING
        serving = asyncio.create_task(
            serve([self._listener], announce_ready=False, on_stop=self._stop, grace=grace)
        )
        serving.add_done_callback(lambda _: self._stopping.set())
        log.info("listening address=%s", self._address)
        return serving

    async def load(self, load: Loader) -> AnyEngine | None:
        """The engine, or None if a stop came first: loading cannot be interrupted, only left."""
        started = time.perf_counter()
        progress = self._loading.progress
        future = in_a_thread(lambda: load(self._settings, progress))
        stopped = asyncio.create_task(self._stopping.wait())
        arrived = asyncio.create_task(_result(future))
        await asyncio.wait({arrived, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not arrived.done():
            return None
        try:
            engine = arrived.result()
        except Exception as exc:
            error = cure(exc) or _reason(self._settings, exc)
            signal.raise_signal(signal.SIGTERM)  # the way out that everybody takes
            raise error from exc
        log.info("model ready seconds=%.1f", time.perf_counter() - started)
        self._loading.finish(engine)
        return engine

    async def be_known(self, engine: AnyEngine) -> None:
        """In the controllers' registries until the stop, or until the device is lost; not while the
        engine's model is away."""
        loop = asyncio.get_running_loop()
        engine.lost.add_done_callback(lambda _: tell(loop, self._stopping))
        names = self._settings.names or engine.card.names
        notify("READY=1\nSTATUS=serving " + ", ".join(names))
        controllers = () if self._settings.no_register else self._settings.controller_address
        for controller in unreachable_for(self._address, controllers):
            log.warning("controller=%s cannot reach %s: %s", controller, self._address, REMEDY)
        who = Identity(self._address, lambda: served_names(names, engine), engine.queue_length)
        async with Http() as http:
            known = partial(self._known, engine, who, controllers, http)
            await while_present(engine.presence, self._stopping, known)

    @asynccontextmanager
    async def _known(
        self, engine: AnyEngine, who: Identity, controllers: Sequence[str], http: Http
    ) -> AsyncGenerator[None]:
        loop, interval = asyncio.get_running_loop(), self._settings.heart_beat_interval
        async with registered(who, controllers, http, interval=interval) as renamed:
            if engine.adapters is not None:
                engine.adapters.listen(lambda: loop.call_soon_threadsafe(renamed))
            yield

    def _stop(self) -> None:
        self._loading.stop()
        self._stopping.set()


async def _result(future: "Future[AnyEngine]") -> AnyEngine:
    return await asyncio.wrap_future(future)


def _reason(settings: WorkerSettings, exc: Exception) -> StartError | DeviceLost:
    if isinstance(exc, StartError | DeviceLost):
        return exc
    log.error("loading failed", exc_info=exc)
    words = (str(exc).splitlines() or [""])[0] or "no reason given"
    what = settings.model_path or settings.upstream_url
    return StartError(f"cannot load {what!r}: {type(exc).__name__}: {words}")
