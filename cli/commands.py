"""The commands of the terminal chat, FastChat's: how they are spelled and what they mean. Pure."""

import re
from dataclasses import dataclass

COMMANDS = {  # what is typed: what it does
    "!!exit": "end the chat (an empty line does, too)",
    "!!reset": "forget the conversation",
    "!!remove": "forget the last question and its answer",
    "!!regen": "answer the last question anew",
    "!!save": "!!save FILE: write the conversation to a file",
    "!!load": "!!load FILE: go on with a conversation from a file",
}
TAKES_FILE = ("!!save", "!!load")

COMMAND = re.compile(r"!!(\w+)(?:\s+(.*\S))?\s*")


@dataclass(frozen=True, slots=True)
class Command:
    """One of COMMANDS, and the file that it is about."""

    name: str
    file: str = ""


class NoCommand(Exception):
    """What was typed looks like a command and is none; `str()` is one sentence."""


def command_in(said: str) -> Command | None:
    """The command that was typed, None for something to be said to the model; raises NoCommand."""
    if not said.strip():
        return Command("!!exit")
    found = COMMAND.fullmatch(said)
    if found is None:
        return None
    name, rest = f"!!{found[1]}", found[2] or ""
    if name not in COMMANDS:
        raise NoCommand(f"there is no command {name}; we have {', '.join(COMMANDS)}")
    if (name in TAKES_FILE) != bool(rest):
        wanted = f"{name} FILE" if name in TAKES_FILE else f"{name} alone"
        raise NoCommand(f"that is typed {wanted}")
    if "\0" in rest:
        raise NoCommand("no file's name has a zero byte in it")
    return Command(name, rest)


def file_name(given: str) -> str:
    """FastChat puts .json behind a name without an ending."""
    last = re.split(r"[/\\]", given)[-1]
    return given if "." in last else f"{given}.json"
