"""The seam between the page and whoever answers: a question, its answer, and who can give it."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Protocol

from ..adapters.wire.generation import Message, Usage


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn; top_k -1 is off."""

    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = -1
    max_tokens: int = 1024


@dataclass(frozen=True, slots=True)
class Question:
    """A conversation up to the point where `model` is to speak."""

    model: str
    messages: tuple[Message, ...]
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True, slots=True)
class Answer:
    """What `model` has said so far: the whole text, not what is new."""

    text: str = ""
    usage: Usage | None = None
    finish_reason: str | None = None


class ChatBackend(Protocol):
    """Who serves models, in one way of talking."""

    async def models(self) -> list[str]:
        """The names of the models served now, sorted; raises ServeError."""
        ...

    def stream(self, question: Question) -> AsyncGenerator[Answer]:
        """The answer as it grows, the last one with its finish_reason; raises ServeError.

        Closing the generator closes the connection at once, which is how the worker learns to stop.
        """
        ...
