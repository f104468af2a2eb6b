"""OpenAI's objects, as the SDK's own types read them."""

from typing import Any

from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from danlu.adapters.wire.openai_answers import (
    ChatShape,
    Choice,
    CompletionShape,
    Head,
    chat_logprobs,
    usage_of,
)

HEAD = Head("chatcmpl-1", 1700000000, "m")
COUNTED = Head("chatcmpl-1", 1700000000, "m", counted=True)
USAGE = {"prompt_tokens": 1, "total_tokens": 3, "completion_tokens": 2}
LOGPROBS: dict[str, Any] = {
    "text_offset": [0, 1],
    "tokens": ["a", "\ufffd"],
    "token_logprobs": [-0.5, -1.0],
    "top_logprobs": [{"b": -2.0, "a": -0.5, "c": -3.0}, {}],
}


OF_THE_PROMPT: list[Any] = [None, {"5": {"logprob": -0.5, "rank": 1, "decoded_token": "a"}}]


def test_a_prompt_is_counted_once_and_every_answer_to_it() -> None:
    choices = [Choice(i, prompt_tokens=p, completion_tokens=2) for i, p in enumerate([3, 3, 5, 5])]
    assert usage_of(choices, 2) == {
        "prompt_tokens": 8,
        "total_tokens": 16,
        "completion_tokens": 8,
    }


def test_a_chat_is_what_the_sdk_reads() -> None:
    done = Choice(0, "hi", LOGPROBS, "stop")
    told = ChatCompletion.model_validate(ChatShape(HEAD, 2).whole([done], USAGE), strict=True)
    (choice,) = told.choices
    assert choice.message.content == "hi" and choice.finish_reason == "stop"
    assert choice.logprobs is not None and choice.logprobs.content is not None
    assert [top.token for top in choice.logprobs.content[0].top_logprobs] == ["a", "b"]


def test_every_chunk_of_a_chat_is_what_the_sdk_reads() -> None:
    shape = ChatShape(COUNTED, 0)
    chunks = [
        shape.opening(1),
        shape.chunk(1, "a", LOGPROBS),
        shape.closing(1, "length"),
        shape.counts(USAGE),
    ]
    told = [ChatCompletionChunk.model_validate(chunk, strict=True) for chunk in chunks]
    assert [one.usage is None for one in told] == [True, True, True, False]
    assert told[-1].choices == []
    assert all(chunk["usage"] is None for chunk in chunks[:-1]), "announced, as OpenAI does"


def test_chunks_say_nothing_of_a_usage_that_was_not_asked_for() -> None:
    assert "usage" not in ChatShape(HEAD).opening(0)
    assert "logprobs" not in ChatShape(HEAD).opening(0)["choices"][0]


def test_completions_and_their_chunks_are_what_the_sdk_reads() -> None:
    shape = CompletionShape(HEAD)
    whole = shape.whole([Choice(0, "hi", LOGPROBS, "stop")], USAGE)
    assert Completion.model_validate(whole, strict=True).choices[0].text == "hi"
    chunk = shape.chunk(0, "hi", LOGPROBS)["choices"][0]
    assert chunk == {"index": 0, "text": "hi", "logprobs": LOGPROBS, "finish_reason": None}
    assert shape.closing(0, "stop")["choices"][0]["finish_reason"] == "stop"


def test_a_token_that_is_half_a_character_has_no_bytes_to_tell() -> None:
    first, second = chat_logprobs(LOGPROBS, 0)["content"]
    assert (first["bytes"], second["bytes"]) == ([97], None)
    assert first["top_logprobs"] == []


def test_log_probabilities_are_gathered_over_the_pieces() -> None:
    choice = Choice(0)
    choice.add_logprobs(None)
    assert choice.logprobs is None
    choice.add_logprobs(LOGPROBS)
    choice.add_logprobs(LOGPROBS)
    assert choice.logprobs is not None
    assert choice.logprobs["tokens"] == ["a", "\ufffd"] * 2
    assert LOGPROBS["tokens"] == ["a", "\ufffd"], "what was given is left as it was"


def test_what_the_model_made_of_a_prompt_stands_where_vllm_has_it() -> None:
    """In a completion's choice, as there may be many prompts; beside a chat's choices."""
    done = Choice(0, "hi", None, "stop", prompt_logprobs=OF_THE_PROMPT)
    (choice,) = CompletionShape(HEAD).whole([done], USAGE)["choices"]
    assert choice["prompt_logprobs"] == OF_THE_PROMPT
    chat = ChatShape(HEAD).whole([done, Choice(1, "ho")], USAGE)
    assert chat["prompt_logprobs"] == OF_THE_PROMPT
    assert all("prompt_logprobs" not in choice for choice in chat["choices"])


def test_a_stream_tells_it_in_a_chunk_of_its_own() -> None:
    chunk = CompletionShape(HEAD).scores(3, OF_THE_PROMPT)
    (choice,) = chunk["choices"]
    assert (choice["index"], choice["text"]) == (3, "")
    assert choice["prompt_logprobs"] == OF_THE_PROMPT
    chunk = ChatShape(HEAD, 0).scores(3, OF_THE_PROMPT)
    assert chunk["prompt_logprobs"] == OF_THE_PROMPT
    assert chunk["choices"] == [{"index": 3, "delta": {}, "logprobs": None, "finish_reason": None}]


def test_nothing_is_said_of_a_prompt_that_nobody_asked_about() -> None:
    done = Choice(0, "hi", None, "stop")
    for shape in (ChatShape(HEAD), CompletionShape(HEAD)):
        assert "prompt_logprobs" not in str(shape.whole([done], USAGE))


def test_log_probabilities_that_only_we_asked_for_are_not_told() -> None:
    (choice,) = CompletionShape(HEAD, logprobs=False).whole([Choice(0, "a", LOGPROBS)], USAGE)[
        "choices"
    ]
    assert choice["logprobs"] is None


def test_an_echoed_prompts_tokens_are_not_the_answers() -> None:
    values = {**LOGPROBS, "token_logprobs": [None, -5.0, -1.0]}
    assert Choice(0, logprobs=values, prompt_tokens=2, echo=True).answer_logprobs == [-1.0]
    assert Choice(0, logprobs=LOGPROBS, prompt_tokens=2).answer_logprobs == [-0.5, -1.0]
    assert Choice(0).answer_logprobs == []
