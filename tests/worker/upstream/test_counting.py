"""Tokens of a prompt: how each kind of upstream is asked, and what its context leaves."""

from typing import Any

import pytest

from danlu.adapters.errors import PromptTooLong, ServeError
from danlu.worker.upstream.asking import UpstreamJob
from danlu.worker.upstream.counting import estimate, question, room_for, tokens_in


def a_prompt(limit: int = 50, prompt: Any = "abcdef") -> UpstreamJob:
    return UpstreamJob("/completions", {"prompt": prompt}, limit, 99)


CHAT = UpstreamJob("/chat/completions", {"messages": []}, 50, 99)


def test_only_vllm_counts_messages() -> None:
    asked = question({"messages": []}, "m", "tokenize")
    assert asked is not None and asked[1]["add_generation_prompt"] is True
    for way in ("tokenize text", "content", "input", "check", None):
        assert question({"messages": []}, "m", way) is None


def test_token_ids_need_no_counting() -> None:
    assert question({"prompt": [1, 2]}, "m", "content") is None


@pytest.mark.parametrize(
    "answer", [{"count": 3}, {"tokens": [1, 2, 3]}, {"prompts": [{"tokenCount": 3}]}]
)
def test_a_count_has_one_of_three_forms(answer: Any) -> None:
    assert tokens_in(answer) == 3


@pytest.mark.parametrize("answer", [{}, [], 3, {"count": None}, {"prompts": []}])
def test_a_count_that_is_none_is_an_error(answer: Any) -> None:
    with pytest.raises(ServeError, match="cannot be read"):
        tokens_in(answer)


def test_an_answer_gets_what_the_prompt_leaves() -> None:
    assert room_for(a_prompt(50), 90, 100) == 10
    assert room_for(a_prompt(5), 90, 100) == 5


def test_a_prompt_that_fills_the_context_is_refused() -> None:
    with pytest.raises(PromptTooLong, match="maximum context length is 100 tokens.*100 tokens"):
        room_for(a_prompt(), 100, 100)


def test_where_nobody_counts_a_chat_is_the_upstreams_to_judge() -> None:
    assert room_for(CHAT, None, 10) == 50


def test_where_nobody_counts_a_prompt_is_estimated_and_gets_a_token_at_least() -> None:
    assert room_for(a_prompt(50), None, 40) == 38
    assert room_for(a_prompt(50, "x" * 999), None, 40) == 1
    assert room_for(a_prompt(50, [1] * 30), None, 40) == 10


def test_the_estimate_is_rather_too_many() -> None:
    assert (estimate(""), estimate("abcd"), estimate("你好")) == (0, 2, 2)
