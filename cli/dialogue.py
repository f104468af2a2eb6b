"""The loop of the terminal chat: one message in, a command done or an answer shown.

Knows neither the model nor the terminal: the one is behind `Speaker`, the other behind `Style`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ..adapters.errors import ServeError
from ..adapters.wire.generation import Message
from .commands import Command, NoCommand, command_in, file_name
from .styles import Style
from .talk import NoTalk, Talk, is_text


class Speaker(Protocol):
    """Whoever answers."""

    def answer(self, messages: list[Message]) -> Iterator[str]:
        """The answer in parts; raises ServeError, before there is one or between two parts.

        Ctrl-C raises KeyboardInterrupt between two parts and ends this answer only.
        """
        ...

    def account(self) -> str:
        """How the last answer went, in words."""
        ...


class Dialogue:
    """`remembers` is false where every question stands alone; `debug` shows the accounts."""

    def __init__(
        self, talk: Talk, style: Style, speaker: Speaker, *, remembers: bool, debug: bool
    ) -> None:
        self._talk, self._style, self._speaker = talk, style, speaker
        self._remembers, self._debug = remembers, debug

    def run(self) -> None:
        """Until the end of the input, `!!exit`, or Ctrl-C twice where a question is awaited."""
        interrupted = False
        while True:
            try:
                said = self._style.ask(self._talk.names[0])
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                self._style.say("an empty line or !!exit ends the chat; so does one more Ctrl-C")
                continue
            interrupted = False
            if said is None or not self._take(said):
                return

    def _take(self, said: str) -> bool:
        """Do what was said; False for the end."""
        try:
            command = command_in(said)
            if command is None:
                self._question(said)
            elif command.name == "!!exit":
                return False
            else:
                self._do(command)
        except (NoCommand, NoTalk) as exc:
            self._style.say(str(exc))
        except OSError as exc:
            self._style.say(f"{exc.filename}: {exc.strerror}")
        return True

    def _question(self, text: str) -> None:
        if not is_text(text):
            self._style.say("that is no UTF-8 text; it is not said to the model")
            return
        if not self._remembers:
            self._talk.clear()
        self._talk.ask(text)
        self._answer()

    def _answer(self) -> None:
        """Show the answer and keep it; of one that was stopped, what was seen of it."""
        parts: list[str] = []
        problem = ""
        try:
            answer = self._speaker.answer(self._talk.messages())
            with self._style.answer(self._talk.names[1]) as write:
                for part in answer:
                    parts.append(part)
                    write(part)
        except KeyboardInterrupt:
            problem = "stopped"
        except ServeError as exc:
            problem = str(exc)
        if text := "".join(parts).strip():
            self._talk.answer(text)
        else:
            self._talk.take_back()
            problem = problem or "the model answered nothing; the question is forgotten"
        if problem:
            self._style.say(problem)
        elif self._debug:
            self._style.say(self._speaker.account())

    def _do(self, command: Command) -> None:
        match command.name:
            case "!!reset":
                self._talk.clear()
                self._style.say("the conversation is forgotten")
            case "!!remove":
                self._remove()
            case "!!regen":
                self._regenerate()
            case "!!save":
                self._save(file_name(command.file))
            case _:
                self._load(command.file)

    def _remove(self) -> None:
        forgotten = self._talk.take_back()
        self._style.say("there is nothing to remove" if forgotten is None else "removed")

    def _regenerate(self) -> None:
        question = self._talk.take_back()
        if question is None:
            self._style.say("there is no question to answer anew")
            return
        self._talk.ask(question)
        self._answer()

    def _save(self, name: str) -> None:
        Path(name).write_text(self._talk.to_json(), encoding="utf-8")
        self._style.say(f"saved as {name}")

    def _load(self, given: str) -> None:
        """As FastChat: the name as it is, or with .json behind it."""
        name = given if Path(given).is_file() else file_name(given)
        try:
            text = Path(name).read_text(encoding="utf-8")
        except UnicodeDecodeError as exc:
            raise NoTalk(f"{name} is no text file") from exc
        self._talk.take_from_json(text)
        self._style.say(f"loaded {name}")
        user, assistant = self._talk.names
        for role, words in self._talk.turns:
            with self._style.answer(user if role == self._talk.user else assistant) as write:
                write(words)
