"""vLLM's parameters: its defaults are let through, what would ask for something is refused."""

from typing import Any

import pytest

from danlu.adapters.errors import BadRequest
from danlu.adapters.wire.openai import ChatRequest, CompletionRequest
from danlu.adapters.wire.openai_extras import ChatExtras, CompletionExtras
from danlu.adapters.wire.parsing import parse

# name: the values that ask for nothing, vLLM's default first; values that ask for something
BOTH: dict[str, tuple[list[Any], list[Any]]] = {
    "length_penalty": ([1.0, 1], [0.5, True]),
    "skip_special_tokens": ([True], [False, 1]),
    "spaces_between_special_tokens": ([True, False], [0]),
    "include_stop_str_in_output": ([False], [True]),
    "bad_words": ([[]], [["bad"]]),
    "allowed_token_ids": ([], [[1], []]),
    "logits_processors": ([[]], [["m.f"]]),
    "truncate_prompt_tokens": ([], [-1, 5]),
    "return_token_ids": ([False], [True]),
    "return_tokens_as_token_ids": ([False], [True]),
    "request_id": ([], ["r"]),
    "session_id": ([], ["s"]),
    "cache_salt": ([], ["salt"]),
    "kv_transfer_params": ([{}], [{"a": 1}]),
    "vllm_xargs": ([{}], [{"a": 1}]),
}
CHAT: dict[str, tuple[list[Any], list[Any]]] = {
    **BOTH,
    "echo": ([False], [True]),
    "add_generation_prompt": ([True], [False]),
    "continue_final_message": ([False], [True]),
    "add_special_tokens": ([False], [True]),
    "chat_template": ([], ["{{ messages }}"]),
    "chat_template_kwargs": ([{}], [{"enable_thinking": False}]),
    "documents": ([[]], [[{"text": "a"}]]),
    "mm_processor_kwargs": ([{}], [{"a": 1}]),
    "include_reasoning": ([True], [False]),
}
COMPLETION: dict[str, tuple[list[Any], list[Any]]] = {
    **BOTH,
    "add_special_tokens": ([True], [False]),
    "prompt_embeds": ([], ["AAAA"]),
}


def chat(**fields: Any) -> ChatRequest:
    messages = [{"role": "user", "content": "hi"}]
    return parse(ChatRequest, {"model": "m", "messages": messages, **fields})


def completion(**fields: Any) -> CompletionRequest:
    return parse(CompletionRequest, {"model": "m", "prompt": "hi", **fields})


WAYS = [(chat, ChatExtras, CHAT), (completion, CompletionExtras, COMPLETION)]


@pytest.mark.parametrize(("ask", "extras", "table"), WAYS)
def test_each_is_told_what_is_done_with_it(ask: Any, extras: Any, table: Any) -> None:
    assert set(table) == set(extras.model_fields)


@pytest.mark.parametrize(("ask", "extras", "table"), WAYS)
def test_one_that_asks_for_nothing_changes_nothing(ask: Any, extras: Any, table: Any) -> None:
    plain = ask().sampling()
    for name, (harmless, _) in table.items():
        for value in (None, *harmless):
            assert ask(**{name: value}).sampling() == plain, name
    defaults = {name: harmless[0] for name, (harmless, _) in table.items() if harmless}
    assert ask(**defaults).sampling() == plain


@pytest.mark.parametrize(("ask", "extras", "table"), WAYS)
def test_one_that_asks_for_something_is_refused_by_name(ask: Any, extras: Any, table: Any) -> None:
    for name, (_, asking) in table.items():
        for value in asking:
            with pytest.raises(BadRequest, match=f"'{name}' is ") as caught:
                ask(**{name: value})
            assert caught.value.param == name


def test_what_is_of_the_other_way_is_unknown() -> None:
    with pytest.raises(BadRequest, match="'prompt_embeds' is not a parameter of this request"):
        chat(prompt_embeds=None)
    with pytest.raises(BadRequest, match="'documents' is not a parameter of this request"):
        completion(documents=None)
