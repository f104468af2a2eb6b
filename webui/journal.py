"""The conversation log: one JSON object a line, in FastChat's schema (its tools read it).

LOGDIR/YYYY-MM-DD-conv.json, ASCII, appended. Without a LOGDIR nothing is kept.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .backend import Sampling
from .session import Turn

ROLES = ("user", "assistant")
TEMPLATE = "danlu"  # the prompt is made by the worker; no template of FastChat's name stands for it


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation as it goes into the log. `turns` is a copy: the tab may have moved on."""

    conv_id: str
    model: str
    system: str
    ip: str
    turns: tuple[Turn, ...]

    def state(self) -> dict[str, Any]:
        messages: list[list[str]] = []
        for turn in self.turns:
            messages.append([ROLES[0], turn.question])
            messages.append([ROLES[1], turn.answer or turn.error])
        return {
            "template_name": TEMPLATE,
            "system_message": self.system,
            "roles": list(ROLES),
            "messages": messages,
            "offset": 0,
            "conv_id": self.conv_id,
            "model_name": self.model,
        }


class Journal:
    """Appends to the day's file. `logdir` "" keeps nothing."""

    def __init__(self, logdir: str, *, now: Callable[[], float] = time.time) -> None:
        self._logdir, self._now = logdir, now

    @property
    def kept(self) -> bool:
        return bool(self._logdir)

    def chat(self, talk: Talk, sampling: Sampling, start: float) -> None:
        """A turn that has ended, well or not, and the conversation up to it."""
        finish = round(self._now(), 4)
        params = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_new_tokens": sampling.max_tokens,
        }
        line = {"tstamp": finish, "type": "chat", "model": talk.model, "gen_params": params}
        times = {"start": round(start, 4), "finish": finish}
        self._append({**line, **times, "state": talk.state(), "ip": talk.ip})

    def vote(self, kind: str, talk: Talk) -> None:
        """`kind` is upvote, downvote or flag."""
        line = {"tstamp": round(self._now(), 4), "type": kind, "model": talk.model}
        self._append({**line, "state": talk.state(), "ip": talk.ip})

    def _append(self, line: dict[str, Any]) -> None:
        if not self._logdir:
            return
        day = time.strftime("%Y-%m-%d", time.localtime(self._now()))
        path = Path(self._logdir) / f"{day}-conv.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="ascii") as file:
            file.write(json.dumps(line) + "\n")
