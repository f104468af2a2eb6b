"""Conversations as ChatGLM2 and ChatGLM3 write them, and what may be cut off them."""

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from danlu.adapters.models.chatglm.rounds import (
    Marker,
    Turn,
    as_segments,
    as_text,
    as_turns,
    conversation,
    cut,
    is_spelled,
    spelled_turns,
)
from danlu.adapters.wire.conversation import render, template_named
from danlu.adapters.wire.generation import Message

ROLES = st.sampled_from(["system", "user", "assistant"])
TURNS = st.lists(st.builds(Turn, ROLES, st.text("ab问：\n", max_size=6)), max_size=12)


def talk(*said: str) -> list[Turn]:
    """Turns from `role: text`."""
    return [Turn(*line.split(": ", 1)) for line in said]


def text(*said: str) -> str:
    return as_text(conversation(talk(*said)))


def test_rounds_are_counted_from_one_and_end_where_the_answer_begins() -> None:
    assert text("user: a", "assistant: b", "user: c") == (
        "[Round 1]\n\n问：a\n\n答：b\n\n[Round 2]\n\n问：c\n\n答："
    )


def test_system_text_stands_in_front_wherever_it_was_said() -> None:
    assert text("system: S", "user: a", "system: T") == "S\n\nT\n\n[Round 1]\n\n问：a\n\n答："


def test_neighbours_of_one_role_are_one_turn() -> None:
    assert text("user: a", "user: b", "assistant: c", "assistant: d", "user: e") == (
        "[Round 1]\n\n问：a\n\nb\n\n答：c\n\nd\n\n[Round 2]\n\n问：e\n\n答："
    )


def test_a_first_message_of_the_assistants_answers_an_empty_question() -> None:
    assert text("assistant: a", "user: b") == (
        "[Round 1]\n\n问：\n\n答：a\n\n[Round 2]\n\n问：b\n\n答："
    )


def test_a_last_message_of_the_assistants_is_an_answer_to_continue() -> None:
    assert text("user: a", "assistant: b") == "[Round 1]\n\n问：a\n\n答：b"
    assert conversation(talk("user: a", "assistant: b")).continues


def test_an_empty_answer_at_the_end_has_yet_to_begin() -> None:
    spoken = conversation(talk("user: a", "assistant: "))
    assert not spoken.continues
    assert as_text(spoken) == text("user: a")
    assert conversation(talk("assistant: ")).rounds == ()


def test_a_system_text_alone_is_followed_by_an_empty_question() -> None:
    assert text("system: S") == "S\n\n[Round 1]\n\n问：\n\n答："


@given(said=st.lists(st.text("ab", min_size=1), min_size=1, max_size=9), system=st.text("s"))
def test_ordinary_conversations_are_what_fastchat_writes(said: list[str], system: str) -> None:
    said = said if len(said) % 2 else said[1:] or ["a"]
    turns = [Turn("user" if i % 2 == 0 else "assistant", text) for i, text in enumerate(said)]
    turns = [*([Turn("system", system)] if system else []), *turns]
    messages = [Message.model_validate({"role": t.role, "content": t.content}) for t in turns]
    assert as_text(conversation(turns)) == render(template_named("chatglm2"), messages).text
    segments = as_segments(as_turns(conversation(turns)))
    assert "".join(map(str, segments)) == render(template_named("chatglm3"), messages).text


@given(turns=TURNS)
def test_nothing_that_was_said_is_lost(turns: list[Turn]) -> None:
    written = as_text(conversation(turns))
    at = {"system": 0, "other": 0}
    for turn in turns:
        line = "system" if turn.role == "system" else "other"
        at[line] = written.index(turn.content, at[line]) + len(turn.content)


@given(turns=TURNS)
def test_every_round_but_the_first_begins_with_the_user(turns: list[Turn]) -> None:
    rounds = conversation(turns).rounds
    assert all(turns[0].role == "user" for turns in rounds[1:])
    assert all(a.role != b.role for turns in rounds for a, b in pairwise(turns))


@given(turns=TURNS, limit=st.integers(0, 200))
def test_a_cut_keeps_the_system_text_the_last_round_and_as_much_as_fits(
    turns: list[Turn], limit: int
) -> None:
    whole = conversation(turns)
    kept, dropped = cut(whole, lambda part: len(as_text(part)) <= limit)
    assert kept.system == whole.system
    assert kept.rounds == whole.rounds[dropped:]
    assert kept.rounds[-1:] == whole.rounds[-1:]
    assert len(as_text(kept)) <= limit or len(kept.rounds) <= 1
    assert not dropped or len(as_text(whole.without(dropped - 1))) > limit


def test_the_third_generation_has_a_marker_before_each_turn() -> None:
    spoken = conversation(talk("user: <|system|>", "assistant: b", "user: c", "system: S"))
    assert as_segments(as_turns(spoken)) == [
        *(Marker("system"), "\n", "S"),
        *(Marker("user"), "\n", "<|system|>"),
        *(Marker("assistant"), "\n", "b"),
        *(Marker("user"), "\n", "c"),
        Marker("assistant"),
    ]


def test_a_call_of_a_tool_is_no_part_of_the_turn_before_it() -> None:
    call = Turn("assistant", "f()", "tool")
    spoken = conversation([*talk("user: a", "assistant: b"), call, Turn("observation", "1")])
    assert as_turns(spoken)[2] == call
    assert as_segments(as_turns(spoken))[-7:-4] == [Marker("assistant"), "tool\n", "f()"]


@pytest.mark.parametrize(
    ("prompt", "turns"),
    [
        ("<|user|>\nhi<|assistant|>", talk("user: hi")),
        ("<|system|>\nS<|user|>\na\nb<|assistant|>", talk("system: S", "user: a\nb")),
        ("<|user|>\nhi<|assistant|>\nwell", talk("user: hi", "assistant: well")),
        ("<|assistant|>tool\nf()<|observation|>\n1<|assistant|>", None),
        ("<|user|>hi", talk("user: hi")),
        ("hi <|user|>\na", []),
        ("", []),
    ],
)
def test_a_prompt_of_fastchats_spells_its_roles_out(prompt: str, turns: list[Turn] | None) -> None:
    expected = [Turn("assistant", "f()", "tool"), Turn("observation", "1")]
    assert spelled_turns(prompt) == (expected if turns is None else turns)


def test_a_prompt_of_fastchats_is_known_by_its_rounds() -> None:
    assert is_spelled(text("user: a", "assistant: b", "user: c"))
    assert not is_spelled("问：a\n\n答：")
    assert not is_spelled(text("user: a", "assistant: b"))
