"""One question to a worker and its JSON answer; what went wrong over there comes back as ours."""

import json
from typing import Any
from urllib.parse import urlsplit

from ...adapters.errors import ServeError, UnknownRoute, WorkerLost
from ...adapters.host.http import Http
from ...adapters.wire.fastchat import error_in, reported as reported_by_number


async def exchange(http: Http, url: str, body: Any, *, timeout: float) -> dict[str, Any]:
    """The object that `url` answers; raises the error that it reports, in whichever form.

    Raises UnknownRoute where a worker does not have the route.
    """
    async with http.stream(url, body, silence=timeout, total=timeout) as answer:
        raw = await answer.read()
    if answer.status != 200:
        raise reported(url, answer.status, raw)
    data = _object(raw)
    if data is None:
        raise WorkerLost("answered no JSON object", peer=url, why=repr(raw[:80]))
    error = error_in(data)
    if error is not None:
        raise error
    return data


def reported(url: str, status: int, raw: bytes) -> ServeError:
    """The error in an answer with another status than 200: a frame, an envelope, or neither."""
    data = _object(raw.rstrip(b"\0")) or {}
    error = error_in(data)
    if error is not None:
        return error
    code, message = data.get("code"), data.get("message")
    if isinstance(code, int) and isinstance(message, str):
        return _named(reported_by_number(code, message), data)
    if status in (404, 405):
        return UnknownRoute(f"has no {urlsplit(url).path}", peer=url)
    said = raw[:200].decode("utf-8", "replace")
    return ServeError(f"answered {status}", peer=url, why=said)


def _named(error: ServeError, data: dict[str, Any]) -> ServeError:
    detail = data.get("error")
    error.param = detail.get("param") if isinstance(detail, dict) else None
    return UnknownRoute(str(error)) if _is_unknown_route(detail) else error


def _is_unknown_route(detail: Any) -> bool:
    return isinstance(detail, dict) and detail.get("code") in (
        UnknownRoute.slug,
        "method_not_allowed",
    )


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None
