"""What an answer must look like, in either client's words, becomes one field of the body."""

import json
from typing import Any

import pytest

from danlu.adapters.errors import BadRequest
from danlu.adapters.wire.openai import ChatRequest, CompletionRequest
from danlu.adapters.wire.openai_structure import Structured
from danlu.adapters.wire.parsing import parse

SCHEMA = {"type": "object", "properties": {"城": {"type": "string"}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
SAME: list[tuple[dict[str, Any], dict[str, Any], str]] = [  # asked, on the wire, called
    ({"response_format": FORMAT}, {"json": SCHEMA}, "response_format.json_schema.schema"),
    ({"response_format": {"type": "json_object"}}, {"json_object": True}, "response_format"),
    ({"structured_outputs": {"json": SCHEMA}}, {"json": SCHEMA}, "structured_outputs.json"),
    (
        {"structured_outputs": {"json_object": True, "regex": None}},
        {"json_object": True},
        "structured_outputs.json_object",
    ),
    ({"structured_outputs": {"regex": "a"}}, {"regex": "a"}, "structured_outputs.regex"),
    ({"structured_outputs": {"choice": ["a"]}}, {"choice": ["a"]}, "structured_outputs.choice"),
    ({"structured_outputs": {"grammar": "g"}}, {"grammar": "g"}, "structured_outputs.grammar"),
    ({"guided_json": SCHEMA}, {"json": SCHEMA}, "guided_json"),
    ({"guided_json": json.dumps(SCHEMA)}, {"json": SCHEMA}, "guided_json"),
    ({"guided_regex": "a"}, {"regex": "a"}, "guided_regex"),
    ({"guided_choice": ["a"]}, {"choice": ["a"]}, "guided_choice"),
    ({"guided_grammar": "g"}, {"grammar": "g"}, "guided_grammar"),
]


def asking(**fields: Any) -> Structured:
    return parse(ChatRequest, {"model": "m", "messages": "hi", **fields})


@pytest.mark.parametrize(("asked", "wire", "name"), SAME)
def test_every_way_to_ask_is_the_same_on_the_wire(
    asked: dict[str, Any], wire: dict[str, Any], name: str
) -> None:
    (field,), (whole,) = wire, asked
    for wanted in (
        asking(**asked),
        parse(CompletionRequest, {"model": "m", "prompt": "p", **asked}),
    ):
        assert wanted.sampling()["structured_outputs"] == wire
        assert wanted.called["structured_outputs"] == whole
        assert wanted.called[f"structured_outputs.{field}"] == name


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"response_format": {"type": "text"}},
        {"response_format": None, "guided_json": None, "structured_outputs": None},
    ],
)
def test_any_text_is_nothing_on_the_wire(asked: dict[str, Any]) -> None:
    assert asking(**asked).sampling() == {"temperature": 0.7, "top_p": 1.0}
    assert asking(**asked).called == {}


def test_a_schema_comes_with_labels() -> None:
    labels = {"name": "n", "description": "d", "strict": False}
    told = asking(
        response_format={"type": "json_schema", "json_schema": {**labels, "schema": SCHEMA}}
    )
    assert told.sampling()["structured_outputs"] == {"json": SCHEMA}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"response_format": FORMAT, "guided_json": SCHEMA}, "'response_format' and 'guided_json'"),
        ({"guided_regex": "a", "guided_choice": ["b"]}, "'guided_regex' and 'guided_choice'"),
        (
            {"guided_regex": "a", "structured_outputs": {"json": {}}},
            "'structured_outputs' and 'guided_regex'",
        ),
        ({"structured_outputs": {"regex": "a", "json": {}}}, "json and regex are given"),
        ({"structured_outputs": {}}, "none is given"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {**FORMAT, "type": "text"}}, "the type is 'text'"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}},
            "'response_format.json_schema.schema' is missing",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
            "'response_format.json_schema.name' is missing",
        ),
        ({"response_format": {**FORMAT, "strict": True}}, "'response_format.strict' is not"),
        ({"guided_json": "{"}, "'guided_json' is '{': it is not JSON"),
        ({"guided_json": 5}, "'guided_json' is 5"),
        ({"guided_choice": []}, "guided_choice"),
        ({"guided_decoding_backend": "outlines"}, "'guided_decoding_backend' is not"),
        ({"structured_outputs": {"structural_tag": "x"}}, "structured_outputs.structural_tag"),
    ],
)
def test_what_cannot_be_is_refused_by_name(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest) as info:
        asking(**asked)
    assert words in str(info.value)
