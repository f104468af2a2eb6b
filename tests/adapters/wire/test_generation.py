"""The generation body: every field legal or refused by name; what goes out comes back."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from danlu.adapters.errors import BadRequest, OutOfRange
from danlu.adapters.wire.generation import GenerateBody, Logprobs, Message, Usage
from danlu.adapters.wire.parsing import parse


def body(**fields: Any) -> GenerateBody:
    return parse(GenerateBody, {"prompt": "hi", **fields})


def test_defaults_are_fastchats() -> None:
    plain = body()
    assert (plain.temperature, plain.top_p, plain.top_k) == (1.0, 1.0, -1)
    assert (plain.max_new_tokens, plain.echo, plain.repetition_penalty) == (256, True, 1.0)
    assert not plain.delta


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": -0.1},
        {"top_p": 1.1},
        {"top_k": 0},
        {"top_k": -2},
        {"min_p": 2},
        {"repetition_penalty": 0},
        {"presence_penalty": 2.1},
        {"frequency_penalty": -2.1},
        {"logit_bias": {"5": 101}},
        {"max_new_tokens": 0},
        {"max_new_tokens": 2**31},
        {"min_tokens": -1},
        {"seed": 2**64},
        {"seed": -(2**63) - 1},
        {"logprobs": 21},
        {"prompt_logprobs": 21},
        {"prompt_logprobs": -1},
        {"priority": 2**31},
        {"priority": -(2**31)},
        {"stop_token_ids": [-1]},
        {"stop_token_ids": [2**31]},
    ],
)
def test_a_value_out_of_range_is_refused(fields: dict[str, Any]) -> None:
    (name,) = fields
    with pytest.raises(OutOfRange, match=name):
        body(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"repetition_penalty": float("inf")},
        {"logit_bias": {"5": float("nan")}},
        {"logit_bias": {"five": 1}},
        {"logit_bias": {"²": 1}},
        {"logit_bias": {"9" * 5000: 1}},
        {"stop": ""},
        {"stop": ["a", ""]},
        {"stop": 5},
        {"best_of": 2},
        {"use_beam_search": True},
        {"images": ["x"]},
        {"judge_sent_end": True},
        {"logprobs": "yes"},
        {"prompt_logprobs": True},
        {"prompt_logprobs": "2"},
        {"priority": 1.5},
        {"priority": True},
        {"stop": "\ud83d"},
        {"structured_outputs": {}},
        {"structured_outputs": {"json_object": False}},
        {"structured_outputs": {"json": {}, "regex": "a"}},
        {"structured_outputs": {"json": "{"}},
        {"structured_outputs": {"json": "[" * 100_000}},
        {"structured_outputs": {"json": "[]"}},
        {"structured_outputs": {"choice": []}},
        {"structured_outputs": {"choice": [""]}},
        {"structured_outputs": {"regex": ""}},
        {"structured_outputs": {"regex": "\ud83d"}},
        {"structured_outputs": {"whitespace_pattern": " "}},
        {"prompt": "half \ud83d"},
    ],
)
def test_what_no_engine_can_honour_is_refused_by_name(fields: dict[str, Any]) -> None:
    (name,) = fields
    with pytest.raises(BadRequest, match=name):
        body(**fields)


def test_half_a_surrogate_pair_in_a_message_is_refused_by_its_place() -> None:
    with pytest.raises(BadRequest, match=r"messages\[0\].content"):
        parse(GenerateBody, {"messages": [{"role": "user", "content": "\udc00"}]})


def test_any_value_but_null_asks_fastchats_workers_for_logprobs() -> None:
    assert body(logprobs=True).logprobs == 0
    assert body(logprobs=False).logprobs is None
    assert body(logprobs=5).logprobs == 5


def test_nulls_of_fastchats_senders_ask_for_nothing() -> None:
    nulls = ("logprobs", "stop", "stop_token_ids", "best_of", "use_beam_search", "images")
    asked = body(**dict.fromkeys(nulls), model="m", echo=False)
    assert asked.stop is None and asked.stop_token_ids is None


def test_one_prompt_is_needed_and_only_one() -> None:
    with pytest.raises(BadRequest, match="'prompt' is missing"):
        parse(GenerateBody, {"model": "m"})
    with pytest.raises(BadRequest, match="one of prompt and prompt_token_ids"):
        parse(GenerateBody, {"prompt": "a", "prompt_token_ids": [1]})


def test_a_million_wrong_ids_are_one_complaint() -> None:
    with pytest.raises(BadRequest, match=r"prompt_token_ids\[0\]"):
        parse(GenerateBody, {"prompt_token_ids": ["x"] * 1_000_000})


legal = st.fixed_dictionaries(
    {"prompt": st.text()},
    optional={
        "model": st.text(),
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0, 1),
        "top_k": st.just(-1) | st.integers(1, 100),
        "stop": st.text(min_size=1) | st.lists(st.text(min_size=1), max_size=3),
        "stop_token_ids": st.lists(st.integers(0, 1000), max_size=3),
        "logit_bias": st.dictionaries(st.integers(0, 1000).map(str), st.floats(-100, 100)),
        "seed": st.integers(-(2**63), 2**64 - 1),
        "echo": st.booleans(),
        "delta": st.booleans(),
        "max_new_tokens": st.integers(1, 10_000),
        "logprobs": st.integers(0, 20) | st.none(),
        "prompt_logprobs": st.integers(0, 20) | st.none(),
        "priority": st.integers(1 - 2**31, 2**31 - 1),
        "structured_outputs": st.fixed_dictionaries({"json": st.dictionaries(st.text(), st.text())})
        | st.fixed_dictionaries({"choice": st.lists(st.text(min_size=1), min_size=1)})
        | st.just({"json_object": True}),
    },
)


@given(legal)
def test_a_body_survives_the_wire(fields: dict[str, Any]) -> None:
    sent = parse(GenerateBody, fields)
    assert parse(GenerateBody, sent.to_wire()) == sent
    assert sent.to_wire()["echo"] is sent.echo


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "takes one of json, json_object, regex, choice and grammar, and none is given"),
        ({"regex": "a", "choice": ["b"]}, "and regex and choice are given"),
    ],
)
def test_an_answer_has_one_structure(given: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest, match=f"'structured_outputs' .*{words}"):
        body(structured_outputs=given)


def test_a_schema_may_be_given_as_its_text() -> None:
    schema = {"type": "object", "properties": {"城": {"const": "\u4e2d"}}}
    assert body(structured_outputs={"json": json.dumps(schema)}) == body(
        structured_outputs={"json": schema}
    )


def test_a_message_has_a_role_and_a_text() -> None:
    assert parse(Message, {"role": "user", "content": ""}).content == ""
    with pytest.raises(BadRequest, match="role"):
        parse(Message, {"role": "tool", "content": "x"})


def test_counts_and_logprobs_of_newer_peers_may_say_more() -> None:
    assert Usage.model_validate({"prompt_tokens": 3, "cached": 1}).prompt_tokens == 3
    told = {"text_offset": [], "tokens": [], "token_logprobs": [], "top_logprobs": [], "x": 1}
    assert Logprobs.model_validate(told).tokens == []
