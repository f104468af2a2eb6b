"""Which FastChat template to tell others, of a model whose own template only the upstream has."""

import logging
from collections.abc import Sequence
from typing import Any

from ...adapters.errors import ServeError
from ...adapters.wire.conversation import template_named
from ...adapters.wire.generation import Message
from ..templates import FALLBACK, conversation_for
from .facts import Ask, Facts

log = logging.getLogger(__name__)

KEPT = (
    "the upstream keeps its chat template to itself: stock FastChat servers and pages will use "
    "conv_template=%s, danlu's the upstream's own; --conv-template sets another one"
)


def conversation_of(facts: Facts, ask: Ask, name: str | None) -> dict[str, Any]:
    """The template `name`d, else one that writes as the upstream does, else FastChat's fallback.

    vLLM and llama.cpp write a conversation out when they are asked; others keep it to themselves.
    """
    write = {"vllm": _written_by_vllm, "llama.cpp": _written_by_llama}.get(facts.dialect)
    if name is not None:
        return template_named(name)
    if write is None:
        log.warning(KEPT, FALLBACK)
        return template_named(FALLBACK)
    return conversation_for(lambda messages: write(facts.model, messages, ask), None)


def _written_by_vllm(model: str, messages: Sequence[Message], ask: Ask) -> str:
    """By way of its tokens; without the prefix that it puts before every text."""
    turns = {"messages": [m.model_dump() for m in messages], "add_generation_prompt": True}
    full, bare = (
        _tokens(ask, {"model": model, "prompt": "a", "add_special_tokens": special})
        for special in (True, False)
    )
    prefix = full[: len(full) - len(bare)]
    tokens = _tokens(ask, {"model": model, **turns})
    own = tokens[len(prefix) :] if prefix and tokens[: len(prefix)] == prefix else tokens
    return _text(ask("/detokenize", {"model": model, "tokens": own}, root=True))


def _written_by_llama(_: str, messages: Sequence[Message], ask: Ask) -> str:
    turns = {"messages": [m.model_dump() for m in messages]}
    return _text(ask("/apply-template", turns, root=True))


def _tokens(ask: Ask, body: dict[str, Any]) -> list[int]:
    answer = ask("/tokenize", body, root=True)
    tokens = answer.get("tokens")
    if not isinstance(tokens, list):
        raise ServeError("the upstream's tokens cannot be read")
    return tokens


def _text(answer: dict[str, Any]) -> str:
    text = answer.get("prompt")
    if not isinstance(text, str):
        raise ServeError("the upstream's prompt cannot be read")
    return text
