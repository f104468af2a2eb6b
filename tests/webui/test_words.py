"""What the page says."""

import re

import pytest
from hypothesis import given, strategies as st

from danlu.adapters.errors import NoWorker
from danlu.adapters.wire.generation import Usage
from danlu.webui import words
from danlu.webui.session import Phase, Turn


def a_turn(answer: str = "", *, phase: Phase = Phase.ENDED, error: str = "") -> Turn:
    return Turn("q", answer=answer, phase=phase, error=error)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a <think> b", "a \\<think> b"),
        ("#include <stdio.h>", "#include \\<stdio.h>"),
        ("</s><!-- x -->", "\\</s>\\<!-- x -->"),
        ("1 < 2, a <- b", "1 < 2, a <- b"),
        ("`List<int>` and List<int>", "`List<int>` and List\\<int>"),
        ("\\(x\\) \\[y\\]", "\\\\(x\\\\) \\\\[y\\\\]"),
        ("```\n<b>\n```\n<b>", "```\n<b>\n```\n\\<b>"),
        ("~~~html\n<b>\n", "~~~html\n<b>\n"),
    ],
)
def test_nothing_that_was_said_is_swallowed(text: str, shown: str) -> None:
    assert words.verbatim(text) == shown


@given(st.text())
def test_showing_adds_backslashes_and_changes_nothing_else(text: str) -> None:
    assert words.verbatim(text).replace("\\", "") == text.replace("\\", "")


@given(st.text(st.characters(exclude_characters="`~")))
def test_code_stays_as_it_is(text: str) -> None:
    code = f"```\n{text}\n```"
    assert words.verbatim(code) == code


def test_a_notice_names_the_command_that_helps() -> None:
    assert "python -m danlu.worker" in words.notice([], "", None)
    assert "没有模型" in words.notice([], "", None)
    problem = words.notice([], "http://c cannot be reached", None)
    assert "`http://c` cannot be reached" in problem
    assert "python -m danlu.controller" in problem
    assert "--model-names gone" in words.notice(["m"], "", "gone")


def test_there_is_no_notice_where_nothing_is_wrong() -> None:
    assert words.notice(["m"], "", "m") == ""


def test_an_error_is_shown_in_place_with_its_cause_and_its_number() -> None:
    turn = a_turn("half", error=words.failure(NoWorker("no worker serves 'm'")))
    [[question, answer]] = words.chat([turn], settled=False)
    assert question == "q"
    assert answer == "half\n\n⚠ **no worker serves 'm' (error 50005)**"


def test_an_address_in_an_error_is_no_link() -> None:
    lost = "'http://w:1/a' broke off, see <b>"
    assert words.cause(lost) == "'`http://w:1/a`' broke off, see \\<b>"
    turn = a_turn(error="http://w:1 is gone")
    assert "⚠ **`http://w:1` is gone**" in words.chat([turn])[0][1]
    assert "\n`http://c:2` is gone\n" in words.notice([], "http://c:2 is gone", None)


@pytest.mark.parametrize("models", [[], ["m"]])
@pytest.mark.parametrize("problem", ["", "gone"])
def test_chinese_has_chinese_punctuation(models: list[str], problem: str) -> None:
    told = [words.notice(models, problem, "other"), words.LOST, words.TERMS]
    told += [words.NO_MODEL, words.too_long(9, 8), words.LOGIN]
    for text in told:
        assert not re.search("[\u4e00-\u9fff][,:;]", text), text


def test_a_cursor_stands_behind_an_answer_that_is_being_written() -> None:
    assert words.chat([a_turn("ab", phase=Phase.ASKED)]) == [["q", "ab▌"]]


def test_only_a_settled_answer_carries_the_line_feed_that_sets_formulas() -> None:
    turns = [a_turn("one"), a_turn("two")]
    assert words.chat(turns, settled=False) == [["q", "one\n"], ["q", "two"]]
    assert words.chat(turns) == [["q", "one\n"], ["q", "two\n"]]


def test_the_line_under_an_answer_counts_tokens() -> None:
    turn = a_turn("ab")
    turn.usage = Usage(prompt_tokens=5, completion_tokens=21, total_tokens=26)
    assert words.status(turn, 2.5, 0.5) == "5 + 21 tokens · 10.0 tokens/s · first after 0.50 s"


def test_the_line_under_an_answer_says_how_it_ended() -> None:
    cut = a_turn("ab")
    cut.finish_reason = "length"
    assert "raise Max tokens" in words.status(cut, 1, 0.5)
    stopped = a_turn("ab")
    stopped.stop.set()
    assert "已停止" in words.status(stopped, 1, 0.5)
    assert words.status(a_turn(error="x"), 1, None) == "⚠ ended by an error · 出错"


def test_waiting_says_what_for() -> None:
    assert "排队中 · 3 s" in words.status(a_turn(phase=Phase.WAITING), 3.2, None)
    assert "等待回答 · 3 s" in words.status(a_turn(phase=Phase.ASKED), 3.2, None)
