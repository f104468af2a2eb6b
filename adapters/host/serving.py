"""Serves ASGI apps on ports, several in one process, from bind to drained stop.

Sockets are bound before anything else happens, so that a taken port is one sentence at once and
not a traceback after minutes of loading. The first stop signal drains: running requests finish
within the grace; the second one ends them.
"""

import asyncio
import contextlib
import errno
import logging
import math
import signal
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from ..errors import StartError
from .systemd import notify

log = logging.getLogger(__name__)

FLAGS = ("--host", "--port")
OTHER_REMEDY = "choose another {port}"
REMEDIES = {  # what to do about a socket that cannot be bound, by the system's reason
    errno.EADDRINUSE: "stop what uses it or choose another {port}",
    errno.EADDRNOTAVAIL: "give {host} an address of this machine, or 0.0.0.0 for all of them",
    errno.EACCES: "ports below 1024 are the system's; choose another {port}",
}
GRACE = 30.0  # seconds that running requests get to finish once a stop is asked for


@dataclass(frozen=True, slots=True)
class Tls:
    """The key and certificate files of an HTTPS listener."""

    keyfile: str
    certfile: str


@dataclass(frozen=True, slots=True)
class Listener:
    """One app on one address."""

    app: ASGIApp
    sock: socket.socket
    tls: Tls | None = None

    @property
    def port(self) -> int:
        port: int = self.sock.getsockname()[1]
        return port


def bind(host: str, port: int, flags: tuple[str, str] = FLAGS) -> socket.socket:
    """A listening socket; port 0 takes any free one. Raises StartError for a taken port.

    `flags` are those that the two come from, for the sentence of an error.
    """
    host_flag, port_flag = flags
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is no name of a machine"
        raise StartError(f"{host_flag} {host!r} is no address of this machine: {reason}") from exc
    # A name such as localhost may be both: those who write 127.0.0.1 must find us, too.
    family, kind, proto, _, address = min(places, key=lambda p: p[0] != socket.AF_INET)
    sock = socket.socket(family, kind, proto)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
        sock.listen(2048)  # uvicorn's own backlog
    except OSError as exc:
        sock.close()
        words = REMEDIES.get(exc.errno or 0, OTHER_REMEDY)
        remedy = words.format(host=host_flag, port=port_flag)
        raise StartError(f"cannot listen on {host}:{port}: {exc.strerror}; {remedy}") from exc
    return sock


def tls_from(enabled: bool, keyfile: str, certfile: str) -> Tls | None:
    """The TLS files of `--ssl` (FastChat: SSL_KEYFILE and SSL_CERTFILE); None without the flag."""
    if not enabled:
        return None
    if not (keyfile and certfile):
        raise StartError("--ssl needs the variables SSL_KEYFILE and SSL_CERTFILE")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certfile, keyfile)
    except OSError as exc:
        raise StartError(f"--ssl cannot use {certfile!r} with {keyfile!r}: {exc}") from exc
    return Tls(keyfile, certfile)


async def serve(
    listeners: Sequence[Listener],
    *,
    announce_ready: bool = True,
    on_stop: Callable[[], None] | None = None,
    grace: float = GRACE,
) -> None:
    """Serve every listener until SIGINT or SIGTERM, then drain and return.

    `on_stop` is called at the first signal, before draining. With `announce_ready` systemd is told
    READY=1 once all listeners accept; an app that becomes ready later tells it by itself.
    """
    logging.getLogger("uvicorn.error").addFilter(_worth_telling)
    servers = [_Server(_config(listener, grace)) for listener in listeners]
    with _stop_signals(servers, on_stop):
        tasks = [
            asyncio.create_task(server.serve(sockets=[listener.sock]), name="serve")
            for server, listener in zip(servers, listeners, strict=True)
        ]
        for server in servers:
            await server.accepting.wait()
        if announce_ready:
            notify("READY=1")
        await asyncio.gather(*tasks)


class _Server(uvicorn.Server):
    """uvicorn, but it leaves the process' signals alone and says when it accepts."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().serve(sockets)
        finally:
            self.accepting.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()


def _config(listener: Listener, grace: float) -> uvicorn.Config:
    return uvicorn.Config(
        listener.app,
        log_config=None,
        access_log=False,
        ssl_keyfile=listener.tls.keyfile if listener.tls else None,
        ssl_certfile=listener.tls.certfile if listener.tls else None,
        timeout_graceful_shutdown=math.ceil(grace),
        timeout_keep_alive=75,  # longer than the idle pools of our own clients
    )


def _worth_telling(record: logging.LogRecord) -> bool:
    """Whether a line of uvicorn's is more than the traceback of something that a stop cut off."""
    if record.exc_info and record.exc_info[0]:
        return not issubclass(record.exc_info[0], asyncio.CancelledError)
    return not record.getMessage().rstrip().endswith("CancelledError")  # of the lifespan, as text


@contextlib.contextmanager
def _stop_signals(
    servers: Sequence[uvicorn.Server], on_stop: Callable[[], None] | None
) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def stop(name: str) -> None:
        again = any(server.should_exit for server in servers)
        log.info("stopping signal=%s drain=%s", name, "no" if again else "yes")
        if not again:
            notify("STOPPING=1")
            if on_stop is not None:
                on_stop()
        for server in servers:
            server.should_exit = True
            server.force_exit = server.force_exit or again

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop, number.name)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
