"""One browser tab's conversation: its turns, and the one that is being answered. Pure.

A session lives as long as its tab; Gradio keeps it on the server, so the tab never sends it.
"""

import asyncio
import uuid
from dataclasses import dataclass, field
from enum import Enum

from ..adapters.wire.generation import Message, Usage


class Phase(Enum):
    """Where a turn is: waiting for one of the page's places, being written, at its end."""

    WAITING = "waiting"
    ASKED = "asked"
    ENDED = "ended"


@dataclass(slots=True)
class Turn:
    """A question and what came of it. `error` is a sentence for the asker; "" if all went well."""

    question: str
    model: str = ""
    answer: str = ""
    error: str = ""
    usage: Usage | None = None
    finish_reason: str | None = None
    phase: Phase = Phase.WAITING
    stop: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class Session:
    """Owned by the event loop. At most one turn, the last, has not ended.

    `used` is when the tab did something last, on a monotonic clock.
    """

    turns: list[Turn] = field(default_factory=list)
    pending: Turn | None = None
    conv_id: str = ""
    voted: bool = False
    used: float = 0.0

    @property
    def busy(self) -> bool:
        return bool(self.turns) and self.turns[-1].phase is not Phase.ENDED

    def ask(self, question: str) -> Turn:
        """A new last turn, to be answered by whoever takes it."""
        assert not self.busy
        self.conv_id = self.conv_id or uuid.uuid4().hex
        self.pending = Turn(question)
        self.turns.append(self.pending)
        self.voted = False
        return self.pending

    def again(self) -> bool:
        """Ask the last question anew; False if there is none, or it is being answered."""
        if self.busy or not self.turns:
            return False
        self.ask(self.turns.pop().question)
        return True

    def take(self) -> Turn | None:
        """The turn that waits for an answer, handed out once."""
        turn, self.pending = self.pending, None
        return turn

    def stop(self) -> None:
        """Ask the writer of the running answer to stop; a turn that nobody took ends here."""
        if self.busy:
            self.turns[-1].stop.set()
        if self.pending is not None:
            self.pending.phase, self.pending = Phase.ENDED, None

    def clear(self) -> None:
        self.stop()
        self.turns, self.conv_id, self.voted = [], "", False

    def messages(self, system: str) -> tuple[Message, ...]:
        """What the model is told. A turn that brought no text is left out: it would be a question
        without an answer in the middle."""
        said = [Message(role="system", content=system)] if system.strip() else []
        for turn in self.turns:
            if turn.answer or turn is self.turns[-1]:
                said.append(Message(role="user", content=turn.question))
            if turn.answer:
                said.append(Message(role="assistant", content=turn.answer))
        return tuple(said)
