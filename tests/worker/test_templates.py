"""Which FastChat template is told to those who write prompts themselves."""

from collections.abc import Sequence
from typing import Any

import jinja2
import pytest

from danlu.adapters.errors import BadRequest
from danlu.adapters.wire.conversation import render
from danlu.adapters.wire.generation import Message
from danlu.worker.templates import PROBE, SYSTEM, Render, conversation_for, like

TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
DEFAULT = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are Qwen.<|im_end|>\n{% endif %}"
)
ANSWER = "<|im_start|>assistant\n"
STRICT = "{% if messages[0].role == 'system' %}{{ refuse() }}{% endif %}"
LLAMA2 = (
    "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'assistant' %} {{ m.content }} </s><s>{% endif %}{% endfor %}"
)


def written(source: str) -> Render:
    def refuse() -> None:
        raise BadRequest("no system messages, please")

    template = jinja2.Environment(keep_trailing_newline=True).from_string(source)

    def own(messages: Sequence[Message]) -> str:
        return template.render(messages=[m.model_dump() for m in messages], refuse=refuse)

    return own


def found(source: str) -> dict[str, Any]:
    conv = like(written(source))
    assert conv is not None
    return conv


def test_it_writes_what_the_models_own_template_writes() -> None:
    own, conv = written(DEFAULT + TURNS + ANSWER), found(DEFAULT + TURNS + ANSWER)
    for messages in (PROBE, (SYSTEM, *PROBE)):
        assert render(conv, messages).text == own(messages)


def test_the_models_default_system_message_is_found() -> None:
    assert found(DEFAULT + TURNS + ANSWER)["system_message"] == "You are Qwen."


def test_of_several_the_one_that_stops_at_a_turns_end_is_taken() -> None:
    assert found(DEFAULT + TURNS + ANSWER)["stop_str"] == "<|im_end|>"


def test_a_template_without_a_default_system_message_is_told_as_an_empty_one() -> None:
    conv = found(TURNS + ANSWER)
    assert conv["system_message"] == ""
    assert render(conv, (SYSTEM, *PROBE)).text == written(TURNS + ANSWER)((SYSTEM, *PROBE))


def test_a_template_that_refuses_system_messages_is_found_by_the_rest() -> None:
    conv = found(STRICT + LLAMA2)
    assert render(conv, PROBE).text == written(STRICT + LLAMA2)(PROBE)


def test_no_ids_of_another_vocabulary_are_told() -> None:
    assert found(DEFAULT + TURNS + ANSWER)["stop_token_ids"] is None


@pytest.mark.parametrize("own", [None, written("{{ messages[0].content }}?!")])
def test_what_fits_none_is_fastchats_default_with_a_line_in_the_log(
    own: Render | None, caplog: pytest.LogCaptureFixture
) -> None:
    assert conversation_for(own, None)["name"] == "one_shot"
    assert "conv_template=one_shot" in caplog.text


def test_a_named_template_is_taken_whatever_the_models_own_is() -> None:
    assert conversation_for(written(TURNS), "chatglm2")["name"] == "chatglm2"
