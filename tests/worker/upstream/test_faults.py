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
    WorkerUnreachable,
)
from danlu.worker.upstream.faults import in_the_stream, notes, refusal, unconnected
from danlu.worker.upstream.redaction import Redaction

URL = "http://up:9/v1/completions"
KEY = "sk-secret-1234"
REDACTION = Redaction("the upstream of cat", "http://up:9/v1", KEY)
QUOTED = "Invalid proxy server token passed. Received API Key = sk-...1234"  # as LiteLLM says


def named(status: int, body: Any, after: str | None = None) -> ServeError:
    return refusal(URL, status, json.dumps(body).encode(), after, REDACTION)


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


def test_the_upstreams_address_is_not() -> None:
    error = named(400, openai("POST http://up:9/v1/completions: top_p is 7 at up:9"))
    assert str(error) == (
        "the upstream says: POST the upstream of cat: top_p is 7 at the upstream of cat"
    )


def test_half_an_address_is_not_left_where_words_are_cut() -> None:
    assert "http:" not in str(named(400, openai("x" * 285 + " http://up:9/v1/models")))


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_the_workers_and_what_is_said_of_it_for_the_log(status: int) -> None:
    error = named(status, openai(QUOTED))
    assert (error.status, error.code) == (500, 50001)
    assert str(error) == "the upstream of cat refuses this worker's key"
    assert notes(error) == (
        f"{URL} refuses this worker's key with status {status}: "
        "Invalid proxy server token passed. Received API Key = sk-...***"
    )


@pytest.mark.parametrize("code", [401, "401", 403])
def test_a_key_that_is_refused_in_the_stream_is_no_fault_of_the_clients(code: Any) -> None:
    error = in_the_stream(openai(QUOTED, code=code), REDACTION)
    assert error is not None and type(error) is ServeError
    assert str(error) == "the upstream of cat refuses this worker's key"
    assert "Invalid proxy server token" in notes(error) and "1234" not in notes(error)


def test_an_event_tells_its_status_as_a_number_or_its_text() -> None:
    for code, kind in ((429, Overloaded), ("429", Overloaded), ("busy", ServeError)):
        assert type(in_the_stream(openai("no", code=code), REDACTION)) is kind


def test_fastchats_refusal_of_a_key_has_no_words_but_a_code() -> None:
    error = {"message": "", "type": "invalid_request_error", "code": "invalid_api_key"}
    assert notes(named(401, {"detail": {"error": error}})).endswith("401: invalid_api_key")


def test_a_route_that_is_missing_is_named_without_the_server() -> None:
    error = refusal("http://up:9/v1/embeddings", 404, b"", redaction=REDACTION)
    assert str(error) == "the upstream has no /embeddings: nothing more"
    assert "http://up:9/v1/embeddings" in notes(error)
    error = refusal("http://up:9/tokenize", 404, b"", redaction=REDACTION)
    assert str(error) == "the upstream has no /tokenize: nothing more"


@pytest.mark.parametrize("kind", [WorkerLost, WorkerUnreachable, WorkerSilent])
def test_an_error_of_the_connection_keeps_its_kind_and_loses_its_address(
    kind: type[ServeError],
) -> None:
    error = unconnected(kind(f"{URL} went wrong"), "cannot be reached", REDACTION)
    what = "was silent for too long" if kind is WorkerSilent else "cannot be reached"
    assert type(error) is kind and str(error) == f"the upstream of cat {what}"
    assert notes(error) == f"{URL} went wrong"


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), (None, None), ("Tue, 1 Jan", None)])
def test_a_busy_upstream_tells_when_to_come_again(header: str | None, seconds: int | None) -> None:
    assert named(429, openai("busy"), header).retry_after == seconds


@pytest.mark.parametrize("raw", [b"", b"<html>\noh no</html>", b"\xff", b"[1]", b'{"a": 1}'])
def test_a_body_of_any_kind_makes_one_line(raw: bytes) -> None:
    said = str(refusal(URL, 500, raw))
    assert said.startswith("the upstream says: ") and "\n" not in said


def test_a_long_page_is_cut() -> None:
    assert len(str(refusal(URL, 500, b"x" * 9999))) < 400
