"""One answer while it is written: what is measured of it, and what the page shows of it."""

from collections.abc import Callable
from typing import Any

from . import words
from .backend import Answer
from .journal import Talk
from .pace import pause
from .session import Phase, Session, Turn

KEEP: Any = {"__type__": "update"}  # to Gradio: this output stays as it is


class Writing:
    """From the question to the end of its answer. Owned by the handler that writes it."""

    def __init__(self, session: Session, turn: Turn, clock: Callable[[], float]) -> None:
        self.turn = turn
        self._session, self._turns = session, tuple(session.turns)
        self._conv_id = session.conv_id  # a tab that clears its history gets another one
        self._clock, self._start = clock, clock()
        self._first: float | None = None
        self._last = self._start
        self._earlier = sum(len(t.question) + len(t.answer) for t in self._turns)

    def interval(self) -> float:
        """Seconds until the page is shown more: all of the conversation is sent each time."""
        return pause(self._earlier + len(self.turn.answer))

    def update(self, answer: Answer | None = None) -> tuple[Any, Any]:
        """(chat, status) after `answer`; without one, a sign of life or the end."""
        if self.turn not in self._session.turns:
            return KEEP, ""  # cleared away
        if answer is not None:
            self._note(answer)
        ended = self.turn.phase is Phase.ENDED
        seconds = (self._last if ended else self._clock()) - self._start
        status = words.status(self.turn, seconds, self._first)
        if answer is None and not ended:
            return KEEP, status
        return words.chat(self._session.turns, settled=False), status

    def _note(self, answer: Answer) -> None:
        self._last = self._clock()
        if self._first is None and answer.text:
            self._first = self._last - self._start
        self.turn.answer = answer.text
        self.turn.usage = answer.usage or self.turn.usage
        self.turn.finish_reason = answer.finish_reason

    def talk(self, system: str, ip: str) -> Talk:
        """This conversation, for the log."""
        return Talk(self._conv_id, self.turn.model, system, ip, self._turns)

    def facts(self) -> str:
        """What the log line of this answer says."""
        usage, turn = self.turn.usage, self.turn
        unfinished = "stopped" if turn.stop.is_set() else "left" if not turn.error else "-"
        return (
            f"model={turn.model} seconds={self._clock() - self._start:.2f} "
            f"tokens={usage.completion_tokens if usage else '-'} "
            f"finish={turn.finish_reason or unfinished} error={turn.error or '-'}"
        )
