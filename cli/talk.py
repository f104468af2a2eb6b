"""A conversation in the terminal: who said what, and FastChat's file format for it. Pure."""

import json
from collections.abc import Sequence
from typing import Any

from ..adapters.wire.generation import Message

NAMES = ("User", "Assistant")  # where a template's roles are signs such as <|im_start|>user


class NoTalk(Exception):
    """A text that holds no conversation; `str()` is one sentence."""


def is_text(words: object) -> bool:
    """Whether it can be said: bytes that are no UTF-8 come from a terminal as half characters."""
    if not isinstance(words, str):
        return False
    try:
        words.encode()
    except UnicodeEncodeError:
        return False
    return True


class Talk:
    """Questions and answers in turn, under a template's name and its two roles."""

    def __init__(self, template: str, roles: Sequence[str], system: str = "") -> None:
        self.template, self.system = template, system
        self.user, self.assistant = roles
        self._turns: list[tuple[str, str]] = []  # (one of the two roles, text)

    @property
    def names(self) -> tuple[str, str]:
        """What the two are called on a screen: the template's roles, where they are words."""
        if all(role.replace(" ", "").isalpha() for role in (self.user, self.assistant)):
            return self.user, self.assistant
        return NAMES

    @property
    def turns(self) -> tuple[tuple[str, str], ...]:
        return tuple(self._turns)

    def ask(self, text: str) -> None:
        self._turns.append((self.user, text))

    def answer(self, text: str) -> None:
        self._turns.append((self.assistant, text))

    def clear(self) -> None:
        self._turns = []

    def take_back(self) -> str | None:
        """Forget the last question and what was answered; the question, None if there is none."""
        while self._turns:
            role, text = self._turns.pop()
            if role == self.user:
                return text
        return None

    def messages(self) -> list[Message]:
        """The conversation as the worker's engines take it."""
        system = [Message(role="system", content=self.system)] if self.system else []
        return system + [
            Message(role="user" if role == self.user else "assistant", content=text)
            for role, text in self._turns
        ]

    def to_json(self) -> str:
        """The text of a file that FastChat's terminal chat loads."""
        content = {
            "template_name": self.template,
            "system_message": self.system,
            "roles": [self.user, self.assistant],
            "messages": [list(turn) for turn in self._turns],
            "offset": 0,
        }
        return json.dumps(content, ensure_ascii=False, indent=2) + "\n"

    def take_from_json(self, text: str) -> None:
        """Go on with a saved conversation, FastChat's or ours; raises NoTalk and changes nothing.

        The roles are matched by their places: a conversation may move between templates. A last
        message without a text, which FastChat writes for an answer to come, is left out.
        """
        saved = _saved(text)
        try:
            user, assistant = saved["roles"]
            names = {user: self.user, assistant: self.assistant}
            turns = [(names[role], words) for role, words in saved["messages"] if words is not None]
            system = saved.get("system_message", "")
        except (KeyError, TypeError, ValueError) as exc:
            raise NoTalk(f"this is no saved conversation: {exc!r} is wrong in it") from exc
        if not all(map(is_text, (system, *(words for _, words in turns)))):
            raise NoTalk("this is no saved conversation: a message in it is no text")
        self.system, self._turns = system, turns


def _saved(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise NoTalk(f"this is no JSON: {exc}") from exc
    if not isinstance(content, dict):
        raise NoTalk("this is no saved conversation: it is no JSON object")
    return content
