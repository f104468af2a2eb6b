"""A body becomes typed, or one sentence that names the field, its value and what would be right."""

import json
from typing import Annotated, Any

import pytest
from hypothesis import given, strategies as st
from pydantic import BaseModel, ConfigDict, Field

from danlu.adapters.errors import BadRequest, OutOfRange
from danlu.adapters.wire.generation import GenerateBody
from danlu.adapters.wire.openai import (
    ChatRequest,
    CompletionRequest,
    EmbeddingsRequest,
    TokenChecks,
)
from danlu.adapters.wire.parsing import parse


class Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    text: str
    weight: Annotated[float, Field(ge=0)] = 1


class Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    name: str
    size: int = Field(default=1, ge=1, le=10)
    share: float = Field(default=0.5, gt=0, lt=1)
    parts: list[Part] = []
    stop: str | list[str] = ""


def complaint(body: dict[str, Any]) -> tuple[str, str | None]:
    with pytest.raises(BadRequest) as caught:
        parse(Body, body)
    return str(caught.value), caught.value.param


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "'name' is missing"),
        ({"name": 5}, "'name' is 5: input should be a valid string"),
        ({"size": 0}, "0 is less than the minimum of 1 - 'size'"),
        ({"size": 11}, "11 is greater than the maximum of 10 - 'size'"),
        ({"share": 0}, "0.0 is not greater than 0 - 'share'"),
        ({"share": 1}, "1.0 is not less than 1 - 'share'"),
        ({"size": "1"}, "'size' is '1': input should be a valid integer"),
        ({"size": True}, "'size' is True: input should be a valid integer"),
        ({"parts": [{"text": "a"}, {}]}, "'parts[1].text' is missing"),
        ({"parts": [{"text": "a", "weight": -1}]}, "-1.0 is less than the minimum of 0"),
        ({"parts": [5]}, "'parts[0]' is 5: input should be an object"),
        ({"stop": 5}, "'stop' is 5: input should be a valid string or a valid list"),
        ({"stop": ["a", 5]}, "'stop[1]' is 5: input should be a valid string"),
        ({"colour": "red"}, "'colour' is not a parameter of this request"),
        ({"x-y z": "red"}, "'x-y z' is not a parameter of this request"),
        ({"str": "red"}, "'str' is not a parameter of this request"),
        ({"parts": [{"text": "a", "x-y": 1}]}, "'parts[0].x-y' is not a parameter"),
    ],
)
def test_a_complaint_names_the_field(body: dict[str, Any], sentence: str) -> None:
    given_name = body if "name" in body or body == {} else {"name": "n", **body}
    message, param = complaint(given_name)
    assert message.startswith(sentence)
    assert param is not None and f"'{param}'" in message


def test_what_is_out_of_range_has_fastchats_number() -> None:
    with pytest.raises(OutOfRange):
        parse(Body, {"name": "n", "size": 0})


def test_a_long_value_is_shown_in_short() -> None:
    message, _ = complaint({"name": ["x" * 10_000]})
    assert len(message) < 200


def test_a_long_unknown_name_is_shown_in_short() -> None:
    message, _ = complaint({"name": "n", "x" * 10_000: 1})
    assert len(message) < 200


def test_a_big_number_is_no_fault_of_ours() -> None:
    assert "'share' is 1000" in complaint({"name": "n", "share": 10**400})[0]
    assert complaint({"name": "n", "size": 10**400})[0].startswith("1000")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=5)
    | st.sampled_from([10**400, "user", "tool", "text", "m"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.sampled_from(["role", "content"]), inner)
    ),
    max_leaves=6,
)
KINDS: list[type[BaseModel]] = [
    GenerateBody,
    ChatRequest,
    CompletionRequest,
    EmbeddingsRequest,
    TokenChecks,
]
bodies = st.sampled_from(KINDS).flatmap(
    lambda kind: st.tuples(
        st.just(kind),
        st.dictionaries(
            st.sampled_from(list(kind.model_fields)) | st.text(max_size=5), json_values, max_size=5
        ),
    )
)


@given(bodies)
def test_any_object_is_a_body_or_a_bad_request(
    told: tuple[type[BaseModel], dict[str, Any]],
) -> None:
    kind, body = told
    try:
        parsed = parse(kind, body)
    except BadRequest as exc:
        assert json.dumps(exc.envelope())
        assert len(str(exc)) < 1000
    else:
        assert isinstance(parsed, kind)
