"""FastChat's bodies: unknown fields are let be, known ones are typed, errors survive the wire."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from danlu.adapters.errors import BY_CODE, BadRequest, Overloaded, ServeError
from danlu.adapters.wire.fastchat import (
    SERVER_ERROR_MSG,
    Capabilities,
    CountBody,
    EmbeddingsBody,
    HeartBeat,
    ModelBody,
    Registration,
    error_frame,
    error_in,
)
from danlu.adapters.wire.parsing import parse

STATUS = {"model_names": ["m"], "speed": 1, "queue_length": 0}


def test_a_registration_of_a_newer_peer_may_say_more() -> None:
    told = {"worker_name": "http://w", "check_heart_beat": True, "worker_status": None, "x": 1}
    assert parse(Registration, told).multimodal is False
    told["worker_status"] = {**STATUS, "load": 0.5}
    status = parse(Registration, told).worker_status
    assert status is not None and status.model_names == ["m"]


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        (Registration, {"check_heart_beat": True}, "worker_name"),
        (Registration, {"worker_name": "", "check_heart_beat": True}, "worker_name"),
        (Registration, {"worker_name": "w", "check_heart_beat": "yes"}, "check_heart_beat"),
        (HeartBeat, {"worker_name": "w"}, "queue_length"),
        (HeartBeat, {"worker_name": "w", "queue_length": -1}, "queue_length"),
        (ModelBody, {}, "model"),
        (CountBody, {"prompt": 5}, "prompt"),
        (EmbeddingsBody, {"input": []}, "input"),
        (EmbeddingsBody, {"input": ["a"], "encoding_format": "hex"}, "encoding_format"),
        (EmbeddingsBody, {"input": ["a"], "dimensions": 5}, "dimensions"),
        (Capabilities, {"version": "1"}, "context_length"),
    ],
)
def test_a_wrong_field_is_named(kind: Any, body: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest, match=field):
        parse(kind, body)


@given(st.sampled_from(sorted(BY_CODE)), st.text(min_size=1).map(str.strip).filter(bool))
def test_an_error_survives_the_wire(code: int, cause: str) -> None:
    heard = error_in(error_frame(BY_CODE[code](cause)))
    assert type(heard) is BY_CODE[code]
    assert str(heard) == cause


def test_an_error_tells_when_to_come_again() -> None:
    heard = error_in(error_frame(Overloaded("busy", retry_after=7)))
    assert isinstance(heard, Overloaded) and heard.retry_after == 7


@pytest.mark.parametrize("after", ["7", -1, 1e9, None, 10**12])
def test_a_time_to_come_again_that_is_none_is_passed_over(after: object) -> None:
    heard = error_in({"text": "busy", "error_code": 42903, "retry_after": after})
    assert heard is not None and heard.retry_after is None


def test_an_error_frame_is_fastchats() -> None:
    frame = error_frame(ServeError("kaboom"))
    assert frame == {"text": f"{SERVER_ERROR_MSG}\n\n(kaboom)", "error_code": 50001}


def test_a_bare_banner_says_at_least_its_number() -> None:
    heard = error_in({"text": SERVER_ERROR_MSG, "error_code": 50006})
    assert heard is not None and "50006" in str(heard)


@pytest.mark.parametrize("frame", [{}, {"error_code": 0}, {"text": "a", "error_code": None}])
def test_a_good_frame_carries_no_error(frame: dict[str, Any]) -> None:
    assert error_in(frame) is None
