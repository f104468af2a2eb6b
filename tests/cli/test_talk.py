"""A conversation in the terminal: its turns, and the file that FastChat's chat reads and writes."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from danlu.cli.talk import NoTalk, Talk

# What fschat 0.2.36 wrote for `!!save` after one round, answers shortened.
FASTCHATS: dict[str, Any] = {
    "template_name": "chatglm2",
    "system_message": "",
    "roles": ["问", "答"],
    "messages": [["问", "你好"], ["答", "你好！"]],
    "offset": 0,
}


def a_talk(*words: str) -> Talk:
    """Question, answer, question, … under ChatGLM2's template."""
    talk = Talk("chatglm2", ("问", "答"))
    for number, text in enumerate(words):
        (talk.answer if number % 2 else talk.ask)(text)
    return talk


def test_the_roles_are_shown_where_they_are_words() -> None:
    assert a_talk().names == ("问", "答")
    assert Talk("vicuna_v1.1", ("USER", "ASSISTANT")).names == ("USER", "ASSISTANT")
    assert Talk("orca-2", ("<|im_start|>user", "<|im_start|>assistant")).names == (
        "User",
        "Assistant",
    )


def test_taking_back_forgets_a_question_with_its_answer() -> None:
    talk = a_talk("a", "b", "c", "d")
    assert talk.take_back() == "c"
    assert talk.turns == (("问", "a"), ("答", "b"))
    assert talk.take_back() == "a"
    assert talk.take_back() is None


def test_a_question_without_an_answer_is_taken_back_alone() -> None:
    talk = a_talk("a", "b", "c")
    assert talk.take_back() == "c"
    assert len(talk.turns) == 2


def test_a_system_message_goes_first_and_only_if_there_is_one() -> None:
    talk = Talk("chatglm2", ("问", "答"), "Answer in rhymes.")
    talk.ask("你好")
    assert [(m.role, m.content) for m in talk.messages()] == [
        ("system", "Answer in rhymes."),
        ("user", "你好"),
    ]
    assert [m.role for m in a_talk("a", "b", "c").messages()] == ["user", "assistant", "user"]


def test_what_is_saved_is_what_fastchat_saves() -> None:
    assert json.loads(a_talk("你好", "你好！").to_json()) == FASTCHATS


def test_what_fastchat_saved_is_gone_on_with() -> None:
    talk = a_talk("forgotten")
    talk.take_from_json(json.dumps(FASTCHATS))
    assert talk.turns == (("问", "你好"), ("答", "你好！"))


def test_an_answer_that_was_still_to_come_is_left_out() -> None:
    talk = a_talk()
    talk.take_from_json(json.dumps({**FASTCHATS, "messages": [["问", "a"], ["答", None]]}))
    assert talk.turns == (("问", "a"),)


def test_a_conversation_moves_to_another_template_by_the_places_of_its_roles() -> None:
    talk = Talk("vicuna_v1.1", ("USER", "ASSISTANT"))
    talk.take_from_json(json.dumps(FASTCHATS))
    assert talk.turns == (("USER", "你好"), ("ASSISTANT", "你好！"))


@given(st.lists(st.text()), st.text())
def test_a_saved_conversation_is_loaded_as_it_was(words: list[str], system: str) -> None:
    talk, again = a_talk(*words), a_talk()
    talk.system = system
    again.take_from_json(talk.to_json())
    assert (again.turns, again.system) == (talk.turns, talk.system)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[" * 100_000,
        "[]",
        "{}",
        json.dumps({**FASTCHATS, "roles": ["one"]}),
        json.dumps({**FASTCHATS, "roles": "问答?"}),
        json.dumps({**FASTCHATS, "messages": [["who?", "a"]]}),
        json.dumps({**FASTCHATS, "messages": [["问"]]}),
        json.dumps({**FASTCHATS, "messages": [["问", 7]]}),
        json.dumps({**FASTCHATS, "messages": [["问", "\udcff"]]}),
        json.dumps({**FASTCHATS, "messages": 7}),
        json.dumps({**FASTCHATS, "system_message": None}),
    ],
    ids=range(13),
)
def test_what_is_no_conversation_is_refused_and_changes_nothing(text: str) -> None:
    talk = a_talk("kept", "too")
    with pytest.raises(NoTalk, match="^this is no "):
        talk.take_from_json(text)
    assert talk.turns == (("问", "kept"), ("答", "too"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.slow
@given(st.fixed_dictionaries(dict.fromkeys(FASTCHATS, json_values)))
def test_no_file_brings_the_chat_down(content: dict[str, Any]) -> None:
    talk = a_talk()
    try:
        talk.take_from_json(json.dumps(content))
    except NoTalk:
        assert talk.turns == ()
    else:
        talk.messages()


@pytest.mark.slow
def test_fastchat_reads_what_we_saved(tmp_path: Path) -> None:
    from fastchat.conversation import get_conv_template

    saved = json.loads(a_talk("你好", "你好！", "再见").to_json())
    conversation = get_conv_template(saved["template_name"])  # as its chat does for !!load
    conversation.set_system_message(saved["system_message"])
    conversation.messages, conversation.offset = saved["messages"], saved["offset"]
    conversation.append_message(conversation.roles[1], None)
    assert conversation.get_prompt() == (
        "[Round 1]\n\n问：你好\n\n答：你好！\n\n[Round 2]\n\n问：再见\n\n答："
    )
