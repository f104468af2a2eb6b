"""Every parameter of OpenAI's is honoured, or asks for nothing, or is refused by its name."""

from typing import Any

import pytest
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_params

from danlu.adapters.errors import BadRequest, OutOfRange
from danlu.adapters.wire.openai import (
    ChatRequest,
    CompletionRequest,
    EmbeddingsRequest,
    TokenChecks,
)
from danlu.adapters.wire.parsing import parse

HI = [{"role": "user", "content": "hi"}]


def chat(**fields: Any) -> ChatRequest:
    return parse(ChatRequest, {"model": "m", "messages": HI, **fields})


def completion(**fields: Any) -> CompletionRequest:
    return parse(CompletionRequest, {"model": "m", "prompt": "hi", **fields})


def embeddings(**fields: Any) -> EmbeddingsRequest:
    return parse(EmbeddingsRequest, {"model": "m", "input": "hi", **fields})


def test_every_parameter_of_the_sdk_is_known() -> None:
    own = chat_params.CompletionCreateParamsBase.__annotations__
    assert set(own) - set(ChatRequest.model_fields) == set()
    own = completion_create_params.CompletionCreateParamsBase.__annotations__
    assert set(own) - set(CompletionRequest.model_fields) == set()
    own = embedding_create_params.EmbeddingCreateParams.__annotations__
    assert set(own) - set(EmbeddingsRequest.model_fields) == set()


def test_defaults_are_fastchats() -> None:
    assert chat().sampling() == {"temperature": 0.7, "top_p": 1.0}
    assert chat().limit is None
    assert completion().max_tokens == 16
    assert completion().sampling() == {"temperature": 0.7, "top_p": 1.0}


def test_a_null_stands_for_a_field_that_is_not_given() -> None:
    nulls: dict[str, Any] = dict.fromkeys(set(ChatRequest.model_fields) - {"model", "messages"})
    assert chat(**nulls) == chat()
    nulls = dict.fromkeys(set(CompletionRequest.model_fields) - {"model", "prompt"})
    assert completion(**nulls) == completion()
    with pytest.raises(BadRequest, match="'messages' is missing"):
        chat(messages=None)


ASKED: dict[str, Any] = {
    "temperature": 0.0,
    "top_p": 0.5,
    "top_k": 5,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "presence_penalty": 0.5,
    "frequency_penalty": -0.5,
    "logit_bias": {"5": -100.0},
    "min_tokens": 2,
    "stop": ["a", "b"],
    "stop_token_ids": [5],
    "ignore_eos": True,
    "seed": 0,
}


def test_what_is_asked_for_goes_to_the_worker() -> None:
    assert chat(**ASKED).sampling() == ASKED
    assert completion(**ASKED).sampling() == ASKED


def test_what_asks_for_nothing_stays_here() -> None:
    off = {
        "top_k": -1,
        "min_p": 0,
        "repetition_penalty": 1,
        "presence_penalty": 0,
        "logit_bias": {},
        "stop": "",
        "stop_token_ids": [],
        "ignore_eos": False,
    }
    assert chat(**off).sampling() == {"temperature": 0.7, "top_p": 1.0}
    assert chat(stop=["", "a"]).sampling()["stop"] == ["a"]
    assert chat(stop="a").sampling()["stop"] == ["a"]


@pytest.mark.parametrize(
    "harmless",
    [
        {"tools": []},
        {"tool_choice": "none"},
        {"tool_choice": "auto"},
        {"functions": []},
        {"function_call": "none"},
        {"parallel_tool_calls": True},
        {"response_format": {"type": "text"}},
        {"modalities": ["text"]},
        {"store": False},
        {"service_tier": "auto"},
        {"service_tier": "default"},
        {"reasoning_effort": "none"},
        {"verbosity": "medium"},
        {"user": "u"},
        {"metadata": {"a": "b"}},
        {"safety_identifier": "s"},
        {"prompt_cache_key": "k"},
        {"use_beam_search": False},
        {"stream_options": {}},
        {"stream_options": {"include_usage": False, "include_obfuscation": False}},
        {"stream_options": {"continuous_usage_stats": False}},
        {"n": 1},
    ],
)
def test_a_value_that_asks_for_nothing_is_let_through(harmless: dict[str, Any]) -> None:
    assert chat(**harmless).sampling() == chat().sampling()


@pytest.mark.parametrize(
    "asking",
    [
        {"tools": [{"type": "function"}]},
        {"tool_choice": "required"},
        {"functions": [{}]},
        {"function_call": {"name": "f"}},
        {"response_format": {"type": "xml"}},
        {"modalities": ["text", "audio"]},
        {"audio": {"voice": "alloy"}},
        {"store": True},
        {"store": 0},
        {"service_tier": "priority"},
        {"reasoning_effort": "high"},
        {"verbosity": "low"},
        {"prediction": {}},
        {"moderation": {}},
        {"web_search_options": {}},
        {"prompt_cache_retention": "24h"},
        {"prompt_cache_options": {"x": 1}},
        {"use_beam_search": True},
        {"stream_options": {"include_obfuscation": True}},
        {"frequenzy_penalty": 1},
        {"frequenzy_penalty": None},
        {"stream_options": {"continuous_usage_stats": True}},
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(asking: dict[str, Any]) -> None:
    (name,) = asking
    with pytest.raises(BadRequest, match=f"'{name}") as caught:
        chat(**asking)
    assert caught.value.param is not None and caught.value.param.startswith(name)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"max_tokens": 0}, "0 is less than the minimum of 1 - 'max_tokens'"),
        ({"n": 0}, "0 is less than the minimum of 1 - 'n'"),
        ({"temperature": -1}, "-1.0 is less than the minimum of 0 - 'temperature'"),
        ({"temperature": 3}, "3.0 is greater than the maximum of 2 - 'temperature'"),
        ({"top_p": -0.5}, "-0.5 is less than the minimum of 0 - 'top_p'"),
        ({"top_p": 1.5}, "1.5 is greater than the maximum of 1 - 'top_p'"),
        ({"top_k": 0}, "0 is out of Range. Either set top_k to -1 or >=1."),
    ],
)
def test_a_value_out_of_range_is_refused_in_fastchats_words(
    fields: dict[str, Any], sentence: str
) -> None:
    for ask in (chat, completion):
        with pytest.raises(OutOfRange) as caught:
            ask(**fields)
        assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"stream_options": {"include_usage": True}}, "needs 'stream'"),
        ({"top_logprobs": 2}, "needs 'logprobs'"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "differ"),
        ({"max_tokens": 5, "min_tokens": 6}, "'min_tokens'"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused(
    fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadRequest, match=sentence):
        chat(**fields)


def test_either_name_of_the_limit_is_honoured() -> None:
    assert chat(max_tokens=5).limit == chat(max_completion_tokens=5).limit == 5
    assert chat(max_tokens=5, max_completion_tokens=5).limit == 5


def test_chat_logprobs_are_the_chosen_tokens_and_alternatives() -> None:
    assert chat().alternatives is None
    assert chat(logprobs=True).alternatives == 0
    assert chat(logprobs=True, top_logprobs=3).alternatives == 3


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("a", ["a"]),
        ("", [""]),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [(1, 2)]),
        ([[1], [2, 3]], [(1,), (2, 3)]),
    ],
)
def test_a_prompt_has_four_forms(prompt: Any, prompts: list[Any]) -> None:
    assert completion(prompt=prompt).prompt == prompts


@pytest.mark.parametrize("prompt", [[], [[]], ["a", 1], [1, "a"], [True], [-1], [2**31], {}, 5])
def test_no_other_form_of_a_prompt_is_taken(prompt: Any) -> None:
    with pytest.raises(BadRequest, match="'prompt' is"):
        completion(prompt=prompt)


def test_of_best_of_answers_n_are_told() -> None:
    assert completion(best_of=5, n=2).candidates == 5
    assert completion(n=2).candidates == 2
    assert completion(best_of=2, n=2, stream=True).candidates == 2, "asks for nothing"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"best_of": 2, "n": 3}, "2 is less than 'n', 3"),
        ({"best_of": 2, "stream": True}, "'best_of' .* cannot be streamed"),
        ({"best_of": 129}, "129 is greater than the maximum of 128 - 'best_of'"),
        ({"best_of": 0}, "0 is less than the minimum of 1 - 'best_of'"),
        ({"best_of": 1.5}, "'best_of' is 1.5"),
    ],
)
def test_what_best_of_cannot_mean_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        completion(**wrong)


def test_a_chat_knows_no_best_of() -> None:
    """Nor does OpenAI's."""
    with pytest.raises(BadRequest, match="'best_of' is not a parameter of this request"):
        chat(best_of=2)


@pytest.mark.parametrize("ask", [chat, completion])
@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt_logprobs": -1},
        {"prompt_logprobs": 21},
        {"prompt_logprobs": True},
        {"prompt_logprobs": [1]},
        {"priority": 2**31},
        {"priority": -(2**31)},
        {"priority": "high"},
        {"priority": 0.5},
    ],
)
def test_vllms_extras_have_bounds_and_kinds(ask: Any, wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(BadRequest, match=f"'{name}'"):
        ask(**wrong)


@pytest.mark.parametrize("ask", [chat, completion])
def test_vllms_extras_reach_the_wire_if_they_ask_for_something(ask: Any) -> None:
    asked = ask(prompt_logprobs=0, priority=-1).sampling()
    assert (asked["prompt_logprobs"], asked["priority"]) == (0, -1)
    assert not {"prompt_logprobs", "priority"} & set(ask(priority=0).sampling())


def test_text_cannot_be_inserted() -> None:
    completion(suffix="")
    with pytest.raises(BadRequest, match="suffix"):
        completion(suffix="the end")


def test_embeddings_take_one_text_or_many() -> None:
    assert embeddings().input == ["hi"]
    assert embeddings(input=["a", "b"]).input == ["a", "b"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"input": []},
        {"input": [1, 2]},
        {"input": ["a"] * 2049},
        {"input": ["half \ud83d"]},
        {"dimensions": 8},
        {"encoding_format": "hex"},
        {"truncate": True},
    ],
)
def test_embeddings_refuse_the_rest_by_name(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(BadRequest, match=f"'{name}'"):
        embeddings(**wrong)


def test_a_model_of_embeddings_has_one_name() -> None:
    assert embeddings(engine="m").engine == "m"
    with pytest.raises(BadRequest, match="differ"):
        embeddings(engine="other")


def test_a_token_check_may_say_more() -> None:
    told = {"model": "m", "prompt": "p", "max_tokens": 5, "x": 1}
    assert parse(TokenChecks, {"prompts": [told]}).prompts[0].max_tokens == 5
