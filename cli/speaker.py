"""Lets a worker's engine answer in the terminal: one question at a time, stopped by Ctrl-C."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..adapters.wire.generation import GenerateBody, Message, Usage
from ..adapters.wire.parsing import parse
from ..worker.engine import AnyEngine
from ..worker.job import Job, Piece
from ..worker.outbox import Outbox


@dataclass(frozen=True, slots=True)
class Wishes:
    """How answers are to be made; `model` is None for the engine's own."""

    temperature: float
    repetition_penalty: float
    max_new_tokens: int
    model: str | None = None

    def body(self, messages: list[Message]) -> GenerateBody:
        """What the engine is asked; raises BadRequest for an illegal wish."""
        fields = {
            "model": self.model,
            "messages": [message.model_dump() for message in messages],
            "temperature": self.temperature,
            "repetition_penalty": self.repetition_penalty,
            "max_new_tokens": self.max_new_tokens,
            "echo": False,
        }
        return parse(GenerateBody, fields)


class EngineSpeaker:
    """Owned by the main thread, which Ctrl-C reaches: `runner` turns it into KeyboardInterrupt."""

    def __init__(
        self,
        engine: AnyEngine,
        runner: asyncio.Runner,
        wishes: Wishes,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._engine, self._runner, self._wishes, self._clock = engine, runner, wishes, clock
        self._usage, self._seconds, self._ended = Usage(), 0.0, ""

    def answer(self, messages: list[Message]) -> Iterator[str]:
        """Admitted before this returns: what cannot be answered is refused at once."""
        return self._pieces(self._engine.admit(self._wishes.body(messages)))

    def account(self) -> str:
        """Tokens of prompt and answer, and how fast the answer's came."""
        usage = self._usage
        speed = usage.completion_tokens / self._seconds if self._seconds else 0.0
        return (
            f"{usage.prompt_tokens} + {usage.completion_tokens} tokens, "
            f"{speed:.1f} tokens/s, ended by {self._ended}"
        )

    def _pieces(self, job: Job) -> Iterator[str]:
        box = Outbox(self._runner.get_loop())
        began = self._clock()
        self._engine.submit(job, box)
        try:
            while (piece := self._runner.run(_next(box))) is not None:
                self._usage = piece.usage
                self._ended = piece.finish_reason or ""
                self._seconds = self._clock() - began
                yield piece.text
        finally:
            box.leave()


async def _next(box: Outbox) -> Piece | None:
    return await anext(aiter(box), None)
