"""Histories in the original's two forms."""

from typing import Any

import pytest

from danlu.adapters.errors import BadRequest
from danlu.worker.chat_history import Query, Reply, Talk

PAIRS = [("a", "b")]
SAID = [{"role": "user", "content": "a"}, {"role": "assistant", "metadata": "", "content": "b"}]


def talk(query: Query, history: Any = None, *, pairs: bool = True) -> Talk:
    return Talk(query, history, pairs=pairs, facts={} if pairs else {"metadata": ""})


def spoken(of: Talk) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in of.messages()]


@pytest.mark.parametrize("history", [PAIRS, [["a", "b"]], SAID])
def test_either_form_is_the_same_conversation(history: Any) -> None:
    assert spoken(talk("c", history)) == [("user", "a"), ("assistant", "b"), ("user", "c")]


def test_a_history_goes_on_in_the_form_that_it_has() -> None:
    assert talk("c", PAIRS, pairs=False).with_answer("d").history == [("a", "b"), ("c", "d")]
    told = talk("c", SAID).with_answer("d").history
    assert told == [*SAID, {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]


def test_a_new_history_has_the_familys_form() -> None:
    assert talk("c", []).with_answer("d").history == [("c", "d")]
    assert talk("c", pairs=False).with_answer("d").history == [
        {"role": "user", "content": "c"},
        {"role": "assistant", "metadata": "", "content": "d"},
    ]


def test_a_list_of_messages_asks_and_is_kept_as_messages() -> None:
    query = [{"role": "system", "content": "S"}, {"role": "user", "content": "c"}]
    asked = talk(query, PAIRS)
    assert spoken(asked)[-2:] == [("system", "S"), ("user", "c")]
    assert asked.with_answer("d").history[2:] == [*query, {"role": "assistant", "content": "d"}]


def test_the_callers_history_is_left_as_it_was() -> None:
    history = list(PAIRS)
    talk("c", history).with_answer("d")
    assert history == PAIRS


def test_a_reply_can_be_taken_apart_and_printed() -> None:
    response, history = reply = Reply("d", PAIRS)
    assert (response, history, f"{reply}") == ("d", PAIRS, "d")


@pytest.mark.parametrize(
    ("query", "history", "words"),
    [
        ("c", [("a", "b"), {"role": "user", "content": "a"}], "mixes pairs and messages"),
        ("c", ["a"], "'history' holds 'a'; it must hold pairs"),
        ("c", [("a", None)], "content"),
        ([{"role": "tool", "content": "a"}], None, "role"),
        ([{"role": "user", "content": "a", "name": "x"}], None, "name"),
        ([{"role": "assistant", "metadata": "f", "content": "x"}], None, "calls the tool 'f'"),
    ],
)
def test_what_is_no_conversation_is_refused(query: Query, history: Any, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        talk(query, history).messages()
