"""Calls other servers over one pooled aiohttp session; the table of what can go wrong is here.

Proxies named in the environment are not used: a worker and a controller reach each other
directly, and a proxy variable is what breaks FastChat's registration (its issue 2234).
"""

import asyncio
import contextlib
import errno
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

import aiohttp

from ..errors import NotReady, ServeError, WorkerLost, WorkerSilent, WorkerUnreachable

AGENT = "danlu"
PORTS = {"http": 80, "https": 443}
CONNECT_TIMEOUT = 5.0  # seconds; a listening peer accepts within milliseconds
# Seconds a pooled connection is kept. A stock worker (uvicorn) closes after 5: a request sent just
# then would look like a worker that died.
IDLE = 4.0


class Answer(Protocol):
    """An HTTP answer whose body is still to be read."""

    status: int
    headers: Mapping[str, str]

    def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes as they arrive; raises WorkerLost or WorkerSilent."""
        ...

    async def read(self) -> bytes: ...


class Http:
    """A pooled HTTP client. Owned by one event loop; opened and closed by `async with`.

    `headers` go with every request.
    """

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        self._headers = headers or {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            headers={"User-Agent": AGENT, "Accept-Encoding": "identity", **self._headers},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def post(self, url: str, body: Any = None, *, timeout: float) -> Any:
        """The JSON that `url` answers to `body` within `timeout` seconds in all.

        Raises WorkerUnreachable, WorkerLost, WorkerSilent, NotReady for status 503, or ServeError
        for another status than 200 or an answer that is no JSON.
        """
        async with self.stream(url, body, silence=timeout, total=timeout) as answer:
            raw = await answer.read()
            if answer.status != 200:
                kind = NotReady if answer.status == 503 else ServeError
                raise kind(f"answered {answer.status}", peer=url, why=_shown(raw))
            try:
                return json.loads(raw)
            except (ValueError, RecursionError) as exc:
                raise ServeError("answered no JSON", peer=url, why=_shown(raw)) from exc

    @asynccontextmanager
    async def stream(
        self,
        url: str,
        body: Any = None,
        *,
        silence: float,
        total: float | None = None,
        method: str = "POST",
    ) -> AsyncIterator[Answer]:
        """Send `body` and hand over the answer while it arrives.

        `silence` is the longest wait in seconds for the next byte. Leaving the block before the
        body's end closes the connection, which is how the peer learns that its reader left.
        """
        assert self._session is not None, "Http is used inside `async with`"
        timeout = aiohttp.ClientTimeout(
            total=total, sock_connect=CONNECT_TIMEOUT, sock_read=silence
        )
        with _named(url):
            response = await self._session.request(
                method, url, json=body, timeout=timeout, allow_redirects=False
            )
        try:
            yield _AiohttpAnswer(url, response)
        finally:
            response.close() if not response.content.at_eof() else response.release()

    async def knock(self, url: str, *, timeout: float) -> None:
        """Connect to the server of `url` and say nothing; raises WorkerUnreachable or WorkerLost.

        Cheaper than a request, and answered by the kernel of a server that is busy.
        """
        host, port = _endpoint(url)
        try:
            async with asyncio.timeout(timeout):
                _, writer = await asyncio.open_connection(host, port)
        except TimeoutError as exc:
            raise WorkerLost("accepted no connection in time", peer=url) from exc
        except UnicodeError as exc:
            raise _nowhere(url) from exc
        except OSError as exc:
            raise _unconnected(url, exc) from exc
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class _AiohttpAnswer:
    def __init__(self, url: str, response: aiohttp.ClientResponse) -> None:
        self._url, self._response = url, response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        with _named(self._url):
            async for chunk in self._response.content.iter_any():
                yield chunk

    async def read(self) -> bytes:
        with _named(self._url):
            return await self._response.read()


class _named:
    """Maps aiohttp's errors to ours, with the address as the peer."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: object
    ) -> None:
        if isinstance(exc, aiohttp.ConnectionTimeoutError):
            raise WorkerLost("accepted no connection in time", peer=self._url) from exc
        if isinstance(exc, asyncio.TimeoutError):
            raise WorkerSilent("was silent for too long", peer=self._url) from exc
        if isinstance(exc, aiohttp.ClientConnectorError):
            raise _unconnected(self._url, exc.os_error) from exc
        # A UnicodeError is the resolver's: a label of the host's name is empty or too long.
        if isinstance(exc, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError | UnicodeError):
            raise _nowhere(self._url) from exc
        if isinstance(exc, aiohttp.ClientPayloadError):
            raise WorkerLost("broke off in the middle of its answer", peer=self._url) from exc
        if isinstance(exc, aiohttp.ClientError | ConnectionError):
            raise WorkerLost("broke the connection off", peer=self._url, why=_reason(exc)) from exc


def _endpoint(url: str) -> tuple[str, int]:
    try:
        where = urlsplit(url)
        host, port = where.hostname, where.port or PORTS[where.scheme]
    except (KeyError, ValueError) as exc:
        raise _nowhere(url) from exc
    if not host:
        raise _nowhere(url)
    return host, port


def _nowhere(url: str) -> WorkerUnreachable:
    return WorkerUnreachable("cannot be reached", peer=url, why="it is no address of a worker")


def _unconnected(url: str, exc: OSError) -> WorkerLost:
    """Only a refusal proves that nothing listens: a name or a route may be missing for a moment."""
    kind = WorkerUnreachable if refused(exc) else WorkerLost
    return kind("cannot be reached", peer=url, why=str(exc))


def refused(exc: OSError) -> bool:
    """Whether a connection failed because nothing listens.

    A name with several addresses fails with one error that has their texts but no number.
    """
    return exc.errno == errno.ECONNREFUSED or f"[Errno {errno.ECONNREFUSED}]" in str(exc)


def _reason(exc: BaseException) -> str:
    return str(exc) or type(exc).__name__


def _shown(raw: bytes) -> str:
    return raw[:200].decode("utf-8", "replace")
