"""Conversations in the forms of many projects are the same turns."""

from typing import Any

import pytest

from danlu.training.data.dialogue import Turn, Unusable
from danlu.training.data.formats import ROLES, is_record, turns_in

ASKED = [Turn("user", "q"), Turn("assistant", "a")]
SYSTEM = Turn("system", "s")
EARLIER = [Turn("user", "q0"), Turn("assistant", "a0")]


def turns(key: str, *said: tuple[str, Any], role: str = "from", text: str = "value") -> Any:
    return {key: [{role: who, text: what} for who, what in said]}


RECORDS: dict[str, tuple[Any, list[Turn]]] = {
    "FastChat": (
        {"id": "1", **turns("conversations", ("human", "q"), ("gpt", "a"))},
        ASKED,
    ),
    "ShareGPT with a system turn": (
        turns("conversations", ("system", "s"), ("user", "q"), ("chatgpt", "a")),
        [SYSTEM, *ASKED],
    ),
    "ShareGPT with a system text": (
        {"system": "s", **turns("conversations", ("human", "q"), ("bing", "a"))},
        [SYSTEM, *ASKED],
    ),
    "ChatGLM3": (
        turns("conversations", ("user", "q"), ("assistant", "a"), role="role", text="content"),
        ASKED,
    ),
    "OpenAI": (
        turns(
            "messages",
            ("developer", "s"),
            ("user", "q"),
            ("assistant", "a"),
            role="role",
            text="content",
        ),
        [SYSTEM, *ASKED],
    ),
    "OpenAI in parts": (
        turns(
            "messages",
            ("user", [{"type": "text", "text": "q"}]),
            ("assistant", "a"),
            role="role",
            text="content",
        ),
        ASKED,
    ),
    "Alpaca": ({"instruction": "q", "input": "", "output": "a"}, ASKED),
    "Alpaca with an input": (
        {"instruction": "q", "input": "more", "output": "a"},
        [Turn("user", "q\nmore"), Turn("assistant", "a")],
    ),
    "Dolly": (
        {"instruction": "q", "context": "more", "response": "a", "category": "closed_qa"},
        [Turn("user", "q\nmore"), Turn("assistant", "a")],
    ),
    "question with a context": (
        {"question": "q", "context": "more", "answer": "a"},
        [Turn("user", "q\nmore"), Turn("assistant", "a")],
    ),
    "Alpaca with everything": (
        {
            "instruction": "q",
            "input": None,
            "output": "a",
            "history": [["q0", "a0"]],
            "system": "s",
        },
        [SYSTEM, *EARLIER, *ASKED],
    ),
    "completion": ({"prompt": "q", "completion": "a"}, ASKED),
    "response": ({"prompt": "q", "response": "a", "history": []}, ASKED),
    "ptuning with history": (
        {"prompt": "q", "response": "a", "history": [["q0", "a0"]]},
        [*EARLIER, *ASKED],
    ),
    "ptuning": ({"content": "q", "summary": "a"}, ASKED),
    "query": ({"query": "q", "response": "a"}, ASKED),
    "question": ({"question": "q", "answer": "a"}, ASKED),
}


@pytest.mark.parametrize("form", RECORDS)
def test_a_form_is_told_by_its_keys(form: str) -> None:
    record, expected = RECORDS[form]
    assert is_record(record)
    assert turns_in(record) == (expected, [])


def test_several_parts_are_lines_of_one_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    record = {"messages": [{"role": "user", "content": parts}]}
    assert turns_in(record)[0] == [Turn("user", "a\nb")]


def test_a_roles_name_may_be_in_capitals() -> None:
    assert turns_in(turns("conversations", ("Human", "q"), ("GPT", "a")))[0] == ASKED


def test_an_answer_of_weight_0_is_not_trained() -> None:
    said = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": 0}]
    assert turns_in({"messages": said})[0][1] == Turn("assistant", "a", trained=False)


def test_tools_are_left_out_with_a_note() -> None:
    record = {**RECORDS["OpenAI"][0], "tools": [{"type": "function"}]}
    assert turns_in(record)[1] == ["tools left out"]


def openai(**turn: Any) -> Any:
    return {"messages": [turn]}


UNUSABLE: dict[str, tuple[Any, str]] = {
    "null": (None, "it is null; a record is an object"),
    "true": (True, "it is a boolean; a record is an object"),
    "a list": ([1], "it is a list; a record is an object"),
    "a number": (1.5, "it is a number; a record is an object"),
    "no key": ({}, "no known form of a conversation has its keys: none"),
    "other keys": ({"text": "a", "x": 1}, "has its keys: text, x"),
    "turns null": ({"conversations": None}, "'conversations' is null; it must be a list of turns"),
    "turns a text": ({"messages": "hi"}, "'messages' is a text; it must be a list of turns"),
    "a nested list": ({"conversations": [[{}]]}, "turn 1 is a list; it must be an object"),
    "no role": (openai(content="a"), "turn 1 has no 'from' or 'role'"),
    "no text": (openai(role="user"), "turn 1 has no 'value' or 'content'"),
    "a role's number": (openai(role=1, content="a"), "'role' of turn 1 is a number"),
    "another role": (openai(role="tool", content="a"), "'role' of turn 1 is 'tool'; it is one of"),
    "a text's number": (openai(role="user", content=7), "'content' of turn 1 is a number; it must"),
    "a text's null": (openai(role="user", content=None), "'content' of turn 1 is null"),
    "an image": (
        openai(role="user", content=[{"type": "image_url", "image_url": {}}]),
        "'content' of turn 1 has parts that are no text",
    ),
    "an empty part": (
        openai(role="user", content=[{"type": "text"}]),
        "'content' of turn 1 has a part without a text",
    ),
    "a call": (
        openai(role="assistant", content=None, tool_calls=[{}]),
        "turn 1 calls a tool; only text is trained",
    ),
    "a weight": (openai(role="assistant", content="a", weight=0.5), "'weight' of turn 1 is 0.5"),
    "a weight's text": (openai(role="user", content="a", weight="1"), "'weight' of turn 1 is '1'"),
    "an answer's null": ({"instruction": "a", "output": None}, "'output' is null; it must be"),
    "a context's list": ({"question": "a", "context": ["c"], "answer": "b"}, "'context' is a list"),
    "an input's list": ({"instruction": "a", "input": [], "output": "b"}, "'input' is a list"),
    "a history's text": ({"prompt": "a", "response": "b", "history": "c"}, "'history' is a text"),
    "a history's triple": (
        {"prompt": "a", "response": "b", "history": [["c", "d"], ["e", "f", "g"]]},
        "part 2 of 'history' is no pair of texts",
    ),
}


@pytest.mark.parametrize("fault", UNUSABLE)
def test_a_fault_is_said_in_a_sentence(fault: str) -> None:
    record, reason = UNUSABLE[fault]
    with pytest.raises(Unusable) as raised:
        turns_in(record)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


def test_every_role_means_one_of_three() -> None:
    assert set(ROLES.values()) == {"system", "user", "assistant"}


@pytest.mark.parametrize("value", [None, [], {"from": "human", "value": "a"}, {"text": "a"}])
def test_other_objects_are_no_records(value: Any) -> None:
    assert not is_record(value)
