"""The rich style of the terminal chat: an editable line with history, answers as Markdown."""

import contextlib
from collections.abc import Iterator

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown

from .commands import COMMANDS
from .styles import Write

SPARE = 4  # lines of the screen that a growing answer leaves free


class Commands(Completer):
    """Offers the chat's commands, with what they do, where one is being typed."""

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        typed = document.text
        if not typed.startswith("!!"):
            return
        for name, meaning in COMMANDS.items():
            if name.startswith(typed):
                yield Completion(name, start_position=-len(typed), display_meta=meaning)


class Rich:
    """Enter sends and Esc Enter makes a new line; with `multiline` it is the other way round."""

    def __init__(self, *, multiline: bool, mouse: bool, console: Console | None = None) -> None:
        self._console = console or Console()
        keys = KeyBindings()
        if not multiline:
            keys.add("escape", "enter")(_new_line)
        self._session: PromptSession[str] = PromptSession(
            history=InMemoryHistory(),
            auto_suggest=AutoSuggestFromHistory(),
            completer=Commands(),
            complete_while_typing=True,
            multiline=multiline,
            mouse_support=mouse,
            key_bindings=keys,
        )

    def ask(self, role: str) -> str | None:
        self._console.print(f"{role}:", style="bold cyan", markup=False)
        try:
            return self._session.prompt()
        except EOFError:
            return None

    @contextlib.contextmanager
    def answer(self, role: str) -> Iterator[Write]:
        """While it grows, its end is on the screen; once it is there, all of it is."""
        self._console.print(f"{role}:", style="bold green", markup=False)
        text = ""
        with Live(console=self._console, refresh_per_second=8, transient=True) as live:

            def write(piece: str) -> None:
                nonlocal text
                text += piece
                live.update(Markdown(self._tail(text)))

            try:
                yield write
            finally:
                live.update("")
        self._console.print(Markdown(text))

    def say(self, text: str) -> None:
        self._console.print(f"[{text}]", style="dim", markup=False, highlight=False)

    def _tail(self, text: str) -> str:
        return "\n".join(text.splitlines()[-max(1, self._console.height - SPARE) :])


def _new_line(event: KeyPressEvent) -> None:
    event.current_buffer.newline()
