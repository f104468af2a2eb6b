"""The conversation log: one JSON object a line, in FastChat's schema (its tools read it).

LOGDIR/YYYY-MM-DD-conv.json, ASCII, appended. Without a LOGDIR nothing is kept.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .backend import Sampling
from .session import Turn

log = logging.getLogger(__name__)

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
    """Appends to the day's file. `log_dir` "" keeps nothing."""

    def __init__(self, log_dir: str, *, now: Callable[[], float] = time.time) -> None:
        self._log_dir, self._now = log_dir, now

    @property
    def kept(self) -> bool:
        return bool(self._log_dir)

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
        if not self._log_dir:
            return
        day = time.strftime("%Y-%m-%d", time.localtime(self._now()))
        path = Path(self._log_dir) / f"{day}-conv.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="ascii") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as exc:  # a full disk must not cost anybody an answer
            log.error("conversation not logged path=%s: %s", path, exc.strerror)
