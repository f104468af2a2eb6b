"""What `danlu up` prints, on a terminal and elsewhere."""

import io

from rich.console import Console

from danlu.cli.display import Display


def a_display(terminal: bool = False) -> tuple[Display, io.StringIO]:
    out = io.StringIO()
    color = "standard" if terminal else None
    console = Console(file=out, force_terminal=terminal, color_system=color, width=60)  # type: ignore[arg-type]
    return Display(console), out


def test_lines_carry_the_name_of_who_printed_them() -> None:
    display, out = a_display()
    with display:
        display.line("controller", "one")
        display.line("webui", "two")
        display.note("three")
    assert out.getvalue() == "controller | one\nwebui      | two\ndanlu      | three\n"


def test_a_line_is_printed_as_it_is_however_long_and_whatever_it_holds() -> None:
    text = "[bold]" + "x" * 200 + " {'a': 1} [/nothing]"
    display, out = a_display()
    display.line("worker", text)
    assert out.getvalue() == f"worker     | {text}\n"


def test_each_program_has_a_colour_of_its_own_on_a_terminal() -> None:
    display, out = a_display(terminal=True)
    display.line("controller", "one")
    display.line("worker", "two")
    first, second = out.getvalue().splitlines()
    assert first.startswith("\x1b[36mcontroller")
    assert second.startswith("\x1b[35mworker")


def test_an_error_line_is_red_on_a_terminal() -> None:
    display, out = a_display(terminal=True)
    display.line("worker", "2024 | ERROR | danlu.worker | out of memory")
    assert "\x1b[31m2024 | ERROR" in out.getvalue()


def test_a_bar_shows_the_loading_on_a_terminal_and_is_gone_afterwards() -> None:
    display, out = a_display(terminal=True)
    with display:
        display.loading("worker", 0.5, "weights")
        display.settled("worker")
    assert "worker" in out.getvalue()
    assert "\x1b[?25h" in out.getvalue(), "the cursor is shown again"


def test_without_a_terminal_the_loading_is_a_line_now_and_then() -> None:
    display, out = a_display()
    with display:
        for percent in range(0, 101):
            display.loading("worker", percent / 100, "weights")
        display.settled("worker")
        display.loading("worker", 0.0, "again")
    lines = out.getvalue().splitlines()
    assert lines[0] == "worker     | 0% weights"
    assert 10 <= len(lines) <= 12
    assert lines[-1] == "worker     | 0% again"
