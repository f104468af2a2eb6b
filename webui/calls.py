"""Calls other servers with httpx; the table of what can go wrong is here.

Proxies named in the environment are not used: the page and what it calls reach each other directly.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from ..adapters.errors import (
    BY_CODE,
    ServeError,
    Unauthorized,
    WorkerLost,
    WorkerSilent,
    WorkerUnreachable,
)
from ..adapters.wire.fastchat import reported

CONNECT = 5.0  # seconds; a listening peer accepts within milliseconds
SHORT = 10.0  # seconds for an answer that needs no generation
AGENT = "danlu-webui"

NOT_HERE = (404, 405)  # how a server says that it has no such route


def open_client() -> httpx.AsyncClient:
    """A client without a bound on connections: the bound on answers is the page's own."""
    return httpx.AsyncClient(
        trust_env=False,
        headers={"User-Agent": AGENT},
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
    )


async def call(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any] | None:
    """The JSON object that `url` answers; None if the server has no such route."""
    async with _named(url):
        response = await client.request(
            method, url, json=body, headers=headers, timeout=httpx.Timeout(SHORT, connect=CONNECT)
        )
    if response.status_code in NOT_HERE and _no_such_route(response.content):
        return None
    if response.status_code != 200:
        raise error_of(url, response.status_code, response.content)
    return _object(response.content)


@asynccontextmanager
async def stream(
    client: httpx.AsyncClient,
    url: str,
    body: Any,
    *,
    silence: float,
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[AsyncIterator[bytes]]:
    """POST `body` and hand over the answer's bytes while they arrive.

    `silence` is the longest wait in seconds for the next byte. Leaving the block before the end
    closes the connection.
    """
    timeout = httpx.Timeout(silence, connect=CONNECT)
    async with (
        _named(url),
        client.stream("POST", url, json=body, headers=headers, timeout=timeout) as response,
    ):
        if response.status_code != 200:
            raise error_of(url, response.status_code, await response.aread())
        yield response.aiter_raw()


def error_of(url: str, status: int, raw: bytes) -> ServeError:
    """The error behind a status that is not 200, in whichever of the known shapes it came."""
    body = _object(raw.rstrip(b"\0"))
    error = body.get("error")
    error = error if isinstance(error, dict) else {}
    detail = body.get("detail")
    message = error.get("message") or body.get("message") or body.get("text") or detail
    if status == 401:
        if error.get("message"):
            return Unauthorized(str(error["message"]))
        return Unauthorized("wants an API key (--api-key)", peer=url)
    if not isinstance(message, str) or not message:
        said = raw[:200].decode("utf-8", "replace")
        return BY_CODE.get(_number(body, error), ServeError)(
            f"answered {status}", peer=url, why=said
        )
    return reported(_number(body, error), message)


def _number(body: Mapping[str, Any], error: Mapping[str, Any]) -> int:
    """FastChat's number of an error, wherever it stands; a fault of the server's without one."""
    codes = (body.get("code"), body.get("error_code"), error.get("code"))
    return next((code for code in codes if isinstance(code, int)), ServeError.code)


def _object(raw: bytes) -> dict[str, Any]:
    """`raw` as a JSON object; an empty one for anything else."""
    try:
        body = json.loads(raw)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _no_such_route(raw: bytes) -> bool:
    """Not so for a 404 that names something else, such as a model that nobody serves."""
    error = _object(raw).get("error")
    slug = error.get("code") if isinstance(error, dict) else None
    return slug in (None, "unknown_url", "method_not_allowed")


@asynccontextmanager
async def _named(url: str) -> AsyncIterator[None]:
    """Maps httpx's errors to ours, with the address as the peer."""
    try:
        yield
    except httpx.ConnectTimeout as exc:
        raise WorkerSilent(f"accepted no connection within {CONNECT:g} s", peer=url) from exc
    except httpx.TimeoutException as exc:
        raise WorkerSilent("was silent for too long", peer=url) from exc
    except httpx.ConnectError as exc:
        raise WorkerUnreachable("cannot be reached", peer=url, why=str(exc)) from exc
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as exc:
        raise WorkerUnreachable(
            "cannot be reached", peer=url, why="it is no address of a server"
        ) from exc
    except httpx.HTTPError as exc:
        raise WorkerLost(
            "broke the connection off", peer=url, why=str(exc) or type(exc).__name__
        ) from exc
