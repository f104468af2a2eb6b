"""How questions come in and answers go out."""

import io
import sys

import pytest
from hypothesis import given, strategies as st

from danlu.adapters.errors import StartError
from danlu.cli.styles import END_OF_MESSAGE, Programmatic, style_named


def test_a_marked_message_comes_in_whole_and_is_echoed_with_its_role() -> None:
    out = io.StringIO()
    style = Programmatic(io.StringIO(f"two\nlines{END_OF_MESSAGE}next{END_OF_MESSAGE}"), out, out)
    assert style.ask("问") == "two\nlines"
    assert style.ask("问") == "next"
    assert style.ask("问") is None
    assert out.getvalue() == "[!OP:问]: two\nlines\n[!OP:问]: next\n"


def test_an_answer_goes_out_part_by_part_with_its_role_in_front() -> None:
    out, words = io.StringIO(), io.StringIO()
    style = Programmatic(io.StringIO(), out, words)
    with style.answer("答") as write:
        write("你")
        write("好")
    style.say("not for the other program")
    assert out.getvalue() == "[!OP:答]: 你好\n"
    assert words.getvalue() == "not for the other program\n"


@given(st.lists(st.text().filter(lambda t: END_OF_MESSAGE.strip() not in t and "\r" not in t)))
def test_marked_messages_come_in_as_they_went_out(messages: list[str]) -> None:
    source = io.StringIO("".join(m + END_OF_MESSAGE for m in messages), newline="\n")
    style = Programmatic(source, io.StringIO(), io.StringIO())
    found = []
    while (message := style.ask("user")) is not None:
        found.append(message)
    assert found == messages


def test_input_that_ends_within_a_message_ends_the_chat() -> None:
    assert Programmatic(io.StringIO("half a"), io.StringIO(), io.StringIO()).ask("user") is None


@pytest.mark.parametrize("style", ["simple", "programmatic"])
@pytest.mark.parametrize("flag", ["multiline", "mouse"])
def test_what_only_the_rich_style_can_do_is_refused_elsewhere(style: str, flag: str) -> None:
    flags = {"multiline": False, "mouse": False, flag: True}
    with pytest.raises(StartError, match=f"^--{flag} needs --style rich"):
        style_named(style, **flags)


def test_the_rich_style_needs_a_terminal() -> None:
    assert not sys.stdout.isatty(), "pytest captures"
    with pytest.raises(StartError, match="--style rich needs a terminal"):
        style_named("rich", multiline=False, mouse=False)
