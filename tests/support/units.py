"""systemd's unit files as far as ours use them: settings, specifiers, variables; and its socket."""

import os
import re
import shlex
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
PREFIX = "/opt/danlu"  # where the units expect the virtual environment


class Unit:
    """A unit file of ours, for one instance, in this virtual environment."""

    def __init__(self, name: str, state: Path, instance: str = "") -> None:
        text = (UNITS / name).read_text(encoding="utf-8")
        text = text.replace(PREFIX, sys.prefix).replace("%i", instance).replace("%S", str(state))
        lines = [line for line in text.splitlines() if line and not line.startswith(("#", "["))]
        self._settings = [tuple(line.split("=", 1)) for line in lines]

    def all(self, key: str) -> list[str]:
        """The values of a setting that may be given several times."""
        return [value for name, value in self._settings if name == key]

    def one(self, key: str) -> str:
        (value,) = self.all(key)
        return value

    def environment(self, file: Mapping[str, str]) -> dict[str, str]:
        """A service's variables: systemd's few, the unit's, and over them those of its env file."""
        own = [word for line in self.all("Environment") for word in shlex.split(line)]
        pairs = dict(word.split("=", 1) for word in own)
        return {"PATH": os.defpath, "LANG": "C.UTF-8", **pairs, **file}

    def argv(self, environment: Mapping[str, str]) -> list[str]:
        """ExecStart's words: ${NAME} is part of a word, $NAME alone becomes any number of them."""
        words: list[str] = []
        for word in shlex.split(self.one("ExecStart")):
            if alone := re.fullmatch(r"\$(\w+)", word):
                words += environment.get(alone[1], "").split()
            else:
                words.append(re.sub(r"\$\{(\w+)\}", lambda m: environment.get(m[1], ""), word))
        return words


def variables(path: Path) -> dict[str, str]:
    """An env file's variables, as systemd reads them."""
    lines = path.read_text(encoding="utf-8").splitlines()
    given = [line for line in lines if line.strip() and not line.startswith(("#", ";"))]
    return dict(line.split("=", 1) for line in given)


class NotifySocket:
    """The end of $NOTIFY_SOCKET that systemd holds."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def __enter__(self) -> Self:
        self._socket.bind(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def wait_for(self, word: str, seconds: float) -> list[str]:
        """The lines that came until `word` was one of them."""
        self._socket.settimeout(seconds)
        lines: list[str] = []
        while word not in lines:
            lines += self._socket.recv(4096).decode().splitlines()
        return lines
