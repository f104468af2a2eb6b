"""What a worker reports, in whichever form, is the same error here."""

import json

import pytest

from danlu.adapters.errors import (
    BadRequest,
    NoWorker,
    OutOfRange,
    PromptTooLong,
    ServeError,
    UnknownRoute,
    WrongMethod,
)
from danlu.adapters.wire.fastchat import error_frame
from danlu.adapters.wire.frames import encode
from danlu.controller.api.exchange import reported


@pytest.mark.parametrize("error", [BadRequest("a"), PromptTooLong("b"), NoWorker("c")])
def test_a_frame_and_an_object_and_an_envelope_are_one_error(error: ServeError) -> None:
    forms = [
        encode(error_frame(error)),
        json.dumps(error_frame(error)).encode(),
        json.dumps(error.envelope()).encode(),
    ]
    for raw in forms:
        heard = reported("http://w", error.status, raw)
        assert (type(heard), str(heard)) == (type(error), str(error))


def test_the_field_that_an_envelope_names_is_kept() -> None:
    raw = json.dumps(OutOfRange("5 is too much", param="seed").envelope()).encode()
    assert reported("http://w", 400, raw).param == "seed"


@pytest.mark.parametrize(
    ("status", "raw"),
    [
        (404, b'{"detail":"Not Found"}'),
        (405, b'{"detail":"Method Not Allowed"}'),
        (404, json.dumps(UnknownRoute("there is no such route").envelope()).encode()),
        (405, json.dumps(WrongMethod("not so").envelope()).encode()),
    ],
)
def test_a_route_that_a_worker_does_not_have_is_no_bad_request(status: int, raw: bytes) -> None:
    assert isinstance(reported("http://w/x", status, raw), UnknownRoute)


@pytest.mark.parametrize("raw", [b"", b"Internal Server Error", b"[1]", b"[" * 5000, b"{}"])
def test_anything_else_is_told_with_its_status(raw: bytes) -> None:
    heard = reported("http://w/x", 500, raw)
    assert type(heard) is ServeError
    assert "http://w/x answered 500" in str(heard)
