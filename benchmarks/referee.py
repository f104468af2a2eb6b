"""Starts every contender in its own process, gives each its turn, and notes what came of it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .contest import Outcome, Standing, Task, turns

ROOT = Path(__file__).resolve().parents[1]
END = 30.0  # seconds that a contender gets to end
WARM_UP = -1  # the round whose results are not counted

Say = Callable[[str], None]


class Process:
    """One contender's process, started here and ended here. Owned by whoever referees."""

    def __init__(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self.standing = Standing(name)
        self._process = subprocess.Popen(
            argv,
            cwd=ROOT,
            env={**os.environ, "TQDM_DISABLE": "1", **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is the referee's; a closed line ends a contender
        )

    def wait_until_ready(self) -> bool:
        """Whether it takes part; why not is in its standing."""
        heard = self._hear()
        self.standing.missing = heard.get("missing", "")
        return bool(heard.get("ready"))

    def run(self, task: Task) -> Outcome | None:
        """None if it broke down; it takes part no more then."""
        heard = self.ask(task.as_json())
        return Outcome(**heard) if heard is not None else None

    def ask(self, words: Mapping[str, Any]) -> dict[str, Any] | None:
        """The same for contests of any kind: what it answers to `words`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(words) + "\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it has ended; what it said last, or that it said nothing, is heard below
        heard = self._hear()
        if "missing" in heard:
            self.standing.missing = heard["missing"]
            return None
        self.standing.peak = heard.pop("peak")
        return heard

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(END)
        except (OSError, subprocess.TimeoutExpired):
            os.killpg(self._process.pid, signal.SIGKILL)  # and the servers that it started
            self._process.wait(END)
        self._process.stdout.close()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            heard: dict[str, Any] = json.loads(line)
            return heard
        return {"missing": f"it broke down (exit status {self._process.wait(END)}), see above"}


def module(name: str, *flags: str, python: str = sys.executable) -> list[str]:
    """The command line of a contender that is a module here."""
    return [python, "-m", f"benchmarks.contenders.{name}", *flags]


def referee(
    processes: Sequence[Process],
    tasks: Mapping[int, Callable[[int], Task]],
    rounds: int,
    *,
    say: Say = lambda text: None,
) -> None:
    """Let all of them do the same tasks in turn; the standings are the processes' own.

    `tasks` makes, by number of streams, the task of a round; WARM_UP is one, too.
    """
    ready = {one.standing.name: one for one in processes if one.wait_until_ready()}
    for streams, make in tasks.items():
        for name in list(ready):
            _turn(ready, name, make(WARM_UP))
        for number, order in turns(list(ready), rounds):
            for name in order:
                say(f"{streams} streams, round {number + 1} of {rounds}: {name}")
                if (outcome := _turn(ready, name, make(number))) is not None:
                    ready[name].standing.add(streams, outcome)


def _turn(ready: dict[str, Process], name: str, task: Task) -> Outcome | None:
    """What one contender makes of a task; who breaks down is out."""
    if name not in ready:
        return None
    outcome = ready[name].run(task)
    if outcome is None:
        del ready[name]
    return outcome
