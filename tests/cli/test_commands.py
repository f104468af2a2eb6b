"""What is a command in the terminal chat, and what is said to the model."""

import pytest
from hypothesis import given, strategies as st

from danlu.cli.commands import COMMANDS, Command, NoCommand, command_in, file_name


@pytest.mark.parametrize("said", ["", " ", "\t\n", "!!exit", "!!exit "])
def test_an_empty_line_ends_the_chat_as_exit_does(said: str) -> None:
    assert command_in(said) == Command("!!exit")


def test_a_file_may_have_spaces_in_its_name() -> None:
    assert command_in("!!save my talk") == Command("!!save", "my talk")
    assert command_in("!!load  a.json ") == Command("!!load", "a.json")


@pytest.mark.parametrize("said", ["你好", "what is !!exit?", "!!", "!!! really?", "! reset"])
def test_everything_else_is_said_to_the_model(said: str) -> None:
    assert command_in(said) is None


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("!!quit", "there is no command !!quit; we have !!exit, .*!!load"),
        ("!!save", "that is typed !!save FILE"),
        ("!!load ", "that is typed !!load FILE"),
        ("!!reset all", "that is typed !!reset alone"),
        ("!!load a\0b", "no file's name has a zero byte in it"),
    ],
)
def test_a_mistyped_command_is_not_said_to_the_model(said: str, sentence: str) -> None:
    with pytest.raises(NoCommand, match=sentence):
        command_in(said)


@given(st.text())
def test_whatever_is_typed_is_a_command_or_a_question_or_a_sentence(said: str) -> None:
    try:
        command = command_in(said)
    except NoCommand as exc:
        assert said.lstrip().startswith("!!")
        assert str(exc)
    else:
        assert command is None or command.name in COMMANDS


def test_a_file_without_an_ending_is_json() -> None:
    assert file_name("talk") == "talk.json"
    assert file_name("talk.txt") == "talk.txt"
    assert file_name("/some.where/talk") == "/some.where/talk.json"
