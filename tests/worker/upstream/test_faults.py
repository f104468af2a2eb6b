"""Every refusal of an upstream has the name of one of our errors, and its own words."""

import json
from typing import Any

import pytest

from danlu.adapters.errors import (
    BadRequest,
    BodyTooLarge,
    NotReady,
    Overloaded,
    PromptTooLong,
    ServeError,
    UnknownModel,
    UnknownRoute,
    WorkerLost,
    WorkerSilent,
)
from danlu.worker.upstream.faults import refusal

URL = "http://up/v1/completions"


def named(status: int, body: Any, after: str | None = None) -> ServeError:
    return refusal(URL, status, json.dumps(body).encode(), after)


def openai(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, openai("top_p is 7"), BadRequest),
        (422, {"detail": [{"loc": ["body"], "msg": "x"}]}, BadRequest),
        (400, openai("This model's maximum context length is 9 tokens"), PromptTooLong),
        (400, openai("The input (9) is longer than the model's context length"), PromptTooLong),
        (400, openai("too big", type="exceed_context_size_error"), PromptTooLong),
        (400, {"object": "error", "message": "maximum context length is 9"}, PromptTooLong),
        (401, openai("no"), ServeError),
        (403, openai("no"), ServeError),
        (404, openai("The model `x` does not exist."), UnknownModel),
        (404, openai('model "x" not found, try pulling it first'), UnknownModel),
        (404, {"detail": "Not Found"}, UnknownRoute),
        (405, {"detail": "Method Not Allowed"}, UnknownRoute),
        (408, {}, WorkerSilent),
        (413, openai("large"), BodyTooLarge),
        (429, openai("busy"), Overloaded),
        (500, openai("kaboom"), ServeError),
        (501, openai("not here"), ServeError),
        (502, {}, WorkerLost),
        (503, openai("Loading model"), NotReady),
        (504, {}, WorkerSilent),
    ],
)
def test_a_status_and_its_words_are_one_of_our_errors(
    status: int, body: Any, kind: type[ServeError]
) -> None:
    assert type(named(status, body)) is kind


def test_the_upstreams_words_and_field_are_passed_on() -> None:
    error = named(400, openai("top_p is 7", param="top_p"))
    assert str(error) == "the upstream says: top_p is 7" and error.param == "top_p"


def test_fastchats_refusal_of_a_key_has_no_words_but_a_code() -> None:
    error = {"message": "", "type": "invalid_request_error", "code": "invalid_api_key"}
    said = str(named(401, {"detail": {"error": error}}))
    assert said == "the upstream refuses this worker's key with status 401: invalid_api_key"


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), (None, None), ("Tue, 1 Jan", None)])
def test_a_busy_upstream_tells_when_to_come_again(header: str | None, seconds: int | None) -> None:
    assert named(429, openai("busy"), header).retry_after == seconds


@pytest.mark.parametrize("raw", [b"", b"<html>\noh no</html>", b"\xff", b"[1]", b'{"a": 1}'])
def test_a_body_of_any_kind_makes_one_line(raw: bytes) -> None:
    said = str(refusal(URL, 500, raw))
    assert said.startswith("the upstream says: ") and "\n" not in said


def test_a_long_page_is_cut() -> None:
    assert len(str(refusal(URL, 500, b"x" * 9999))) < 400


def test_the_key_is_the_workers_not_the_clients() -> None:
    assert named(401, openai("bad key")).status == 500
    assert "refuses this worker's key with status 401: bad key" in str(
        named(401, openai("bad key"))
    )
