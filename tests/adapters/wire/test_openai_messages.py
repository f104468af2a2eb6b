"""Messages of a chat become roles and texts; what is no text is refused by its place."""

from typing import Any

import pytest

from danlu.adapters.errors import BadRequest
from danlu.adapters.wire.generation import Message
from danlu.adapters.wire.openai import ChatRequest
from danlu.adapters.wire.parsing import parse


def flat(*messages: Any) -> list[Message]:
    return parse(ChatRequest, {"model": "m", "messages": list(messages)}).conversation()


def test_a_plain_string_is_one_message_of_the_user() -> None:
    told = parse(ChatRequest, {"model": "m", "messages": "hi"}).conversation()
    assert told == [Message(role="user", content="hi")]


def test_a_developer_is_a_system() -> None:
    assert flat({"role": "developer", "content": "x"}) == [Message(role="system", content="x")]


def test_parts_of_text_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert flat({"role": "user", "content": parts}) == [Message(role="user", content="a\nb")]


def test_an_answer_of_ours_can_be_sent_back() -> None:
    answer: dict[str, Any] = {
        "role": "assistant",
        "content": "x",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "tool_calls": None,
        "function_call": None,
    }
    assert flat(answer) == [Message(role="assistant", content="x")]


def test_a_name_is_a_label() -> None:
    assert flat({"role": "user", "content": "x", "name": "ann"})[0].content == "x"


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"role": "tool", "content": "x", "tool_call_id": "1"}, "role"),
        ({"role": "function", "content": "x", "name": "f"}, "role"),
        ({"role": 5, "content": "x"}, "role"),
        ({"content": "x"}, "role"),
        ({"role": "user"}, "content"),
        ({"role": "user", "content": None}, "content"),
        ({"role": "user", "content": 5}, "content"),
        ({"role": "user", "content": "\ud83d"}, "content"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, "content[0].type"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "content[0].type"),
        ({"role": "user", "content": [{"type": "text"}]}, "content[0].text"),
        ({"role": "user", "content": [{"text": "x"}]}, "content[0].type"),
        ({"role": "user", "content": [{"type": "text", "text": "x", "y": 1}]}, "content[0].y"),
        ({"role": "assistant", "content": None, "tool_calls": [{}]}, "tool_calls"),
        ({"role": "assistant", "content": "x", "function_call": {"name": "f"}}, "function_call"),
        ({"role": "user", "content": "x", "colour": "red"}, "colour"),
    ],
)
def test_what_is_no_text_is_refused_by_its_place(message: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        flat({"role": "user", "content": "fine"}, message)
    assert caught.value.param == f"messages[1].{field}"


@pytest.mark.parametrize("messages", [[], {}, 5, ["hi"]])
def test_messages_are_a_list_of_objects(messages: Any) -> None:
    with pytest.raises(BadRequest, match="messages"):
        parse(ChatRequest, {"model": "m", "messages": messages})


def test_a_text_that_no_tokenizer_reads_is_not_asked_to_be_a_list() -> None:
    with pytest.raises(BadRequest) as caught:
        flat({"role": "user", "content": "\ud800"})
    assert str(caught.value).endswith("there is half a surrogate pair at character 0")
