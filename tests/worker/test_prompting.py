"""What a request asks with, as token ids."""

import copy
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st
from support.tiny import SPECIAL, byte_level_tokenizer, sentencepiece_tokenizer
from transformers import PreTrainedTokenizerFast

from danlu.adapters.errors import BadRequest
from danlu.adapters.wire.generation import GenerateBody
from danlu.worker.prompting import Asked, Prompting
from danlu.worker.vocabulary import Vocabulary

TOKENIZER = byte_level_tokenizer()
CONTENT = st.text() | st.lists(st.sampled_from([*SPECIAL, "\n", " a", "丹"])).map("".join)


def prompting(tokenizer: PreTrainedTokenizerFast, template: str | None = None) -> Prompting:
    return Prompting(tokenizer, Vocabulary(tokenizer), template)


OWN = prompting(TOKENIZER)


def asked(how: Prompting = OWN, **fields: Any) -> Asked:
    return how.ask(GenerateBody(**fields))


def said(content: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": content}]


def templated(tokenizer: PreTrainedTokenizerFast, messages: Sequence[dict[str, str]]) -> list[int]:
    ids: Any = tokenizer.apply_chat_template(
        list(messages), add_generation_prompt=True, return_dict=False
    )
    return list(ids)


@given(content=st.text())
def test_messages_are_what_the_chat_template_makes_of_them(content: str) -> None:
    messages = [*said("Hello."), {"role": "assistant", "content": "What?"}, *said(content)]
    if not any(spelling in content for spelling in SPECIAL):
        assert list(asked(messages=messages).ids) == templated(TOKENIZER, messages)


@given(content=CONTENT)
def test_nothing_that_a_user_writes_becomes_a_special_token(content: str) -> None:
    ids = asked(messages=said(content)).ids
    plain = asked(messages=said("x")).ids
    special = Vocabulary(TOKENIZER).special
    assert [i for i in ids if i in special] == [i for i in plain if i in special]


@given(content=CONTENT)
def test_the_text_of_messages_is_kept_to_the_letter(content: str) -> None:
    result = asked(messages=said(content))
    start, _, end = asked(messages=said("XYZ")).text.partition("XYZ")
    assert result.text == f"{start}{content}{end}"
    decoded = str(TOKENIZER.decode(list(result.ids), clean_up_tokenization_spaces=False))
    assert decoded == result.text


def test_a_prompt_may_spell_special_tokens_out() -> None:
    """FastChat's servers write their templates that way."""
    text = "<|im_start|>user\nHello<|im_end|>\n"
    assert asked(prompt=text).ids[0] == 1
    assert asked(prompt=text).continues


def test_a_prompt_has_the_tokenizers_prefix_once() -> None:
    how = prompting(sentencepiece_tokenizer())
    assert asked(how, prompt="The cat").ids[0] == 1
    assert asked(how, prompt="<s>The cat").ids.count(1) == 1


def test_token_ids_are_taken_as_they_are() -> None:
    result = asked(prompt_token_ids=[300, 301, 302])
    assert result.ids == (300, 301, 302)
    assert result.text == TOKENIZER.decode([300, 301, 302])


def test_an_empty_prompt_is_the_token_that_begins_a_text() -> None:
    assert asked(prompt="").ids == (0,)


def test_an_answer_to_messages_stands_alone() -> None:
    assert not asked(messages=said("Hello.")).continues


def test_a_template_that_refuses_messages_is_a_bad_request() -> None:
    tokenizer = copy.deepcopy(byte_level_tokenizer())
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    strict = prompting(tokenizer)
    with pytest.raises(BadRequest, match="refuses these messages: roles must alternate"):
        asked(strict, messages=said("Hello."))


def test_a_conversation_template_is_followed_where_one_is_named() -> None:
    how = prompting(TOKENIZER, "chatglm2")
    result = asked(how, messages=[{"role": "system", "content": "Short."}, *said("你好")])
    assert result.text == "Short.\n\n[Round 1]\n\n问：你好\n\n答："
    assert result.ids == how.encode(result.text)
    assert how.conversation["name"] == "chatglm2"


def test_a_named_templates_stops_end_the_answer() -> None:
    assert asked(prompting(TOKENIZER, "orca-2"), messages=said("Hi")).stop == ("<|im_end|>",)


def test_without_a_chat_template_fastchats_default_is_followed() -> None:
    how = prompting(sentencepiece_tokenizer())
    assert how.conversation["name"] == "one_shot"
    result = asked(how, messages=said("Why?"))
    assert result.text.endswith("### Human: Why?\n### Assistant:")
    assert result.ids[0] == 1
    assert "###" in "".join(result.stop)


def test_every_private_character_at_once_is_refused() -> None:
    everything = "".join(map(chr, range(0xE000, 0xF900)))
    with pytest.raises(BadRequest, match="private character"):
        asked(messages=said(everything))
