"""The editable line of the rich style, typed into through a pipe."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.console import Console

from danlu.cli.rich_style import Commands, Rich

ESC_ENTER, ENTER, CTRL_C, CTRL_D = "\x1b\r", "\r", "\x03", "\x04"


@contextmanager
def typed(keys: str, multiline: bool = False) -> Iterator[Rich]:
    """A style at a line into which `keys` are typed."""
    with create_pipe_input() as keyboard, create_app_session(keyboard, DummyOutput()):
        keyboard.send_text(keys)
        yield Rich(multiline=multiline, mouse=False, console=Console(file=io.StringIO()))


def test_enter_sends_and_esc_enter_makes_a_new_line() -> None:
    with typed(f"one{ESC_ENTER}two{ENTER}") as style:
        assert style.ask("User") == "one\ntwo"


def test_with_multiline_it_is_the_other_way_round() -> None:
    with typed(f"one{ENTER}two{ESC_ENTER}", multiline=True) as style:
        assert style.ask("User") == "one\ntwo"


def test_ctrl_d_is_the_end_of_the_input() -> None:
    with typed(CTRL_D) as style:
        assert style.ask("User") is None


def test_ctrl_c_reaches_the_dialogue() -> None:
    with typed(f"half{CTRL_C}") as style, pytest.raises(KeyboardInterrupt):
        style.ask("User")


def test_an_answer_is_shown_whole_as_markdown_once_it_is_there() -> None:
    out = io.StringIO()
    with typed("") as _:
        style = Rich(multiline=False, mouse=False, console=Console(file=out, width=60))
        with style.answer("答") as write:
            for piece in ("# 你", "好\n\n", "- a\n", "- b\n"):
                write(piece)
        style.say("[words] of its own")
    shown = out.getvalue()
    assert shown.startswith("答:\n")
    assert "• a\n" in shown.replace(" • a", "• a").replace("  ", "")
    assert "[[words] of its own]" in shown


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("!!re", ["!!reset", "!!remove", "!!regen"]),
        ("!!s", ["!!save"]),
        ("what is !!s", []),
        ("", []),
    ],
)
def test_commands_are_completed_where_one_is_being_typed(line: str, offered: list[str]) -> None:
    found = Commands().get_completions(Document(line), CompleteEvent())
    assert [completion.text for completion in found] == offered
