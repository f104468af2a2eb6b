"""The seam between the worker's HTTP side and whatever owns the device."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from ..adapters.wire.generation import GenerateBody
from .job import Job
from .outbox import Box
from .shelf import Shelf


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What the world may know of a loaded model.

    `conversation` is its FastChat conversation template in wire form; `parameters` the fields of a
    generation body that its engine honours.
    """

    context_length: int
    conversation: dict[str, Any]
    parameters: frozenset[str]
    embeddings: bool


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector a text, each L2-normalised, and the number of tokens they took in all."""

    vectors: list[list[float]]
    tokens: int


class Engine(Protocol):
    """Owns the model and the device. Every method may be called from any thread, none blocks long.

    `adapters` are those that it serves beside the model, None where it can serve none. `admit` and
    `count` are host work of milliseconds; they raise BadRequest and its kin. `lost` is
    done once the device is lost: whatever is asked after that ends with DeviceLost.
    """

    card: ModelCard
    lost: "Future[None]"

    @property
    def adapters(self) -> Shelf | None: ...

    def admit(self, body: GenerateBody) -> Job:
        """The job that `body` asks for; raises BadRequest, OutOfRange or PromptTooLong."""
        ...

    def submit(self, job: Job, box: Box) -> None:
        """Take the job; its box is closed once, by the engine, whatever happens."""
        ...

    def embed(self, texts: Sequence[str]) -> "Future[Embeddings]":
        """The vectors to come; who cancels them wants none, and no more work is done for them."""
        ...

    def count(self, text: str) -> int:
        """The number of tokens of `text`, special prefix tokens included."""
        ...

    def queue_length(self) -> int:
        """Jobs running and waiting."""
        ...

    def close(self) -> None:
        """Finish nothing more; boxes still open are closed with an error."""
        ...


def served_names(model: Sequence[str], engine: Engine) -> tuple[str, ...]:
    """The names that may be asked for now: the model's own, and those with an adapter."""
    return tuple(model) if engine.adapters is None else engine.adapters.names
