"""The one place where an error becomes an HTTP answer, and where a JSON body is taken in."""

import json
import logging
import sys
from collections.abc import Mapping
from typing import Any, TypeAlias

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ExceptionHandler

from ..errors import BadRequest, BodyTooLarge, ServeError, UnknownRoute, WrongMethod

log = logging.getLogger(__name__)

MAX_BODY = 8 * 1024 * 1024  # bytes; a 32k-token prompt is well under 1 MiB
DRAINED = 64 * 1024 * 1024  # bytes of a too large body that are read, so that its sender hears why
HUNG_UP = 499  # nginx' number for a client that closed the connection

Handlers: TypeAlias = Mapping[Any, ExceptionHandler]


async def read_object(request: Request, limit: int = MAX_BODY) -> dict[str, Any]:
    """The request's JSON object, whatever its Content-Type says; raises BadRequest."""
    return object_in(await read_body(request, limit))


def object_in(raw: bytes) -> dict[str, Any]:
    """The JSON object that `raw` spells; raises BadRequest."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise BadRequest(f"the body is not valid JSON: {_reason(exc)}") from exc
    if not isinstance(body, dict):
        raise BadRequest(f"the body must be a JSON object, not {_json_name(body)}")
    return body


async def read_body(request: Request, limit: int = MAX_BODY) -> bytes:
    """The request's bytes; raises BodyTooLarge past `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size <= limit:
            parts.append(part)
        if size > DRAINED:
            break
    if size > limit:
        raise BodyTooLarge(f"the body is larger than {limit} bytes; send a shorter one")
    return b"".join(parts)


def error_handlers() -> dict[Any, ExceptionHandler]:
    """Starlette's `exception_handlers` for an app of this house."""
    return {
        ServeError: answer_error,
        HTTPException: answer_http,
        ClientDisconnect: answer_nobody,
        Exception: answer_fault,
    }


async def answer_error(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, ServeError)
    headers = {} if exc.retry_after is None else {"Retry-After": str(exc.retry_after)}
    return JSONResponse(exc.envelope(), status_code=exc.status, headers=headers)


async def answer_http(request: Request, exc: Exception) -> Response:
    """Starlette's own refusals: an unknown path, a wrong method; `detail` is FastChat's."""
    assert isinstance(exc, HTTPException)
    where = f"{request.method} {request.url.path}"
    kinds: dict[int, ServeError] = {
        404: UnknownRoute(f"there is no {where} here"),
        405: WrongMethod(f"{where} is not allowed; use another method"),
    }
    error = kinds.get(exc.status_code, BadRequest(exc.detail))
    body = {"detail": exc.detail, **error.envelope()}
    return JSONResponse(body, status_code=exc.status_code, headers=exc.headers)


async def answer_nobody(_: Request, exc: Exception) -> Response:
    """The client hung up while it was still asking: no fault of ours, and nobody reads this."""
    assert isinstance(exc, ClientDisconnect)
    return Response(status_code=HUNG_UP)


async def answer_fault(request: Request, exc: Exception) -> Response:
    """A defect of ours, as an envelope."""
    return await answer_error(request, named(exc, f"{request.method} {request.url.path}"))


def named(exc: Exception, where: str = "while answering") -> ServeError:
    """The error as its reader may see it; a defect of ours goes to the log with its traceback."""
    if isinstance(exc, ServeError):
        return exc
    log.error("fault %s", where, exc_info=exc)
    return ServeError(f"internal error: {type(exc).__name__}")


def _reason(exc: Exception) -> str:
    if isinstance(exc, RecursionError):
        return "nested too deeply"
    if type(exc) is ValueError:  # Python's bound; its sentence is for programmers
        return f"it has a number of more than {sys.get_int_max_str_digits()} digits"
    return str(exc)


def _json_name(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
