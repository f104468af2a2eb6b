"""Errors become answers in one place, and a body is taken in with a limit."""

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from danlu.adapters.errors import (
    BY_CODE,
    BadRequest,
    Overloaded,
    ServeError,
    UnknownModel,
    from_code,
)
from danlu.adapters.host.answers import error_handlers, object_in, read_object

LIMIT = 1000


async def echo(request: Request) -> Response:
    return JSONResponse(await read_object(request, LIMIT))


async def unknown(_: Request) -> Response:
    raise UnknownModel("Only a allowed now, your model b", param="model")


async def busy(_: Request) -> Response:
    raise Overloaded("try again later", retry_after=7)


async def defect(_: Request) -> Response:
    raise KeyError("secret detail")


def client() -> httpx.AsyncClient:
    app = Starlette(
        routes=[
            Route("/echo", echo, methods=["POST"]),
            Route("/unknown", unknown),
            Route("/busy", busy),
            Route("/defect", defect),
        ],
        exception_handlers=dict(error_handlers()),
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://house")


@pytest.mark.anyio
async def test_an_error_is_openais_envelope_with_fastchats_fields_beside_it() -> None:
    async with client() as http:
        answer = await http.get("/unknown")
    assert answer.status_code == 404
    assert answer.json() == {
        "error": {
            "message": "Only a allowed now, your model b",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        },
        "object": "error",
        "message": "Only a allowed now, your model b",
        "code": 40301,
    }


@pytest.mark.anyio
async def test_who_is_told_to_wait_is_told_how_long() -> None:
    async with client() as http:
        answer = await http.get("/busy")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")


@pytest.mark.anyio
async def test_a_defect_is_a_500_that_keeps_its_details_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with client() as http:
        answer = await http.get("/defect")
    assert answer.status_code == 500
    assert answer.json()["error"]["message"] == "internal error: KeyError"
    assert "secret detail" in caplog.text


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "path", "status", "detail"),
    [("GET", "/nowhere", 404, "Not Found"), ("GET", "/echo", 405, "Method Not Allowed")],
)
async def test_a_wrong_path_or_method_has_fastchats_detail_too(
    method: str, path: str, status: int, detail: str
) -> None:
    async with client() as http:
        answer = await http.request(method, path)
    assert (answer.status_code, answer.json()["detail"]) == (status, detail)
    assert path in answer.json()["error"]["message"]


@pytest.mark.anyio
async def test_a_json_object_is_taken_whatever_its_content_type() -> None:
    async with client() as http:
        answer = await http.post("/echo", content=b'{"a": 1}')
    assert answer.json() == {"a": 1}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        (b"{not json", 400, "the body is not valid JSON"),
        (b"", 400, "the body is not valid JSON"),
        (b"\xff\xfe{}", 400, "the body is not valid JSON"),
        (b"[1]", 400, "must be a JSON object, not an array"),
        (b"3", 400, "must be a JSON object, not a number"),
        (b"[" * LIMIT, 400, "the body is not valid JSON"),
        (b'"' + b"x" * LIMIT + b'"', 413, f"larger than {LIMIT} bytes"),
    ],
)
async def test_another_body_is_refused_in_one_sentence(
    content: bytes, status: int, sentence: str
) -> None:
    async with client() as http:
        answer = await http.post("/echo", content=content)
    assert answer.status_code == status
    assert sentence in answer.json()["error"]["message"]


def test_a_number_that_is_too_long_is_told_without_pythons_advice() -> None:
    with pytest.raises(BadRequest, match="a number of more than 4300 digits") as caught:
        object_in(b'{"n": ' + b"1" * 5000 + b"}")
    assert "sys." not in str(caught.value)


def test_every_number_of_fastchats_gives_an_error_with_that_number() -> None:
    for code, kind in BY_CODE.items():
        assert kind.code == code
        assert str(from_code(code, "why")) == "why"


def test_an_unknown_number_is_a_plain_fault() -> None:
    assert type(from_code(99999, "why")) is ServeError


def test_every_error_states_its_facts() -> None:
    for kind in _tree(ServeError):
        assert 400 <= kind.status < 600
        assert 40000 <= kind.code < 60000


def _tree(kind: type[ServeError]) -> list[type[ServeError]]:
    found: list[Any] = [kind]
    for child in kind.__subclasses__():
        found += _tree(child)
    return found
