"""The seam between the worker's HTTP side and whatever owns the device."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from ..adapters.wire.generation import GenerateBody
from .outbox import Box
from .presence import Presence
from .shelf import Shelf

J = TypeVar("J")  # what an engine makes of a body; nobody else looks into it


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What the world may know of a loaded model.

    `conversation` is its FastChat conversation template in wire form; `parameters` the fields of a
    generation body that its engine honours, `names` what the engine found its model to be called:
    a worker that was given no names serves it under these.
    """

    context_length: int
    conversation: dict[str, Any]
    parameters: frozenset[str]
    embeddings: bool
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector a text, each L2-normalised, and the number of tokens they took in all."""

    vectors: list[list[float]]
    tokens: int


class Engine(Protocol[J]):
    """Owns the model and the device. Every method may be called from any thread, none but `count`
    blocks long.

    `adapters` are those that it serves beside the model, None where it can serve none. `presence`
    says whether the model can be had: an upstream's can be away. `admit` is
    host work of milliseconds; it raises BadRequest and its kin. `count` may ask another server: it
    is for threads that may wait. `lost` is done once the device is lost: whatever is asked after
    that ends with DeviceLost.
    """

    card: ModelCard
    lost: "Future[None]"
    presence: Presence

    @property
    def adapters(self) -> Shelf | None: ...

    def admit(self, body: GenerateBody) -> J:
        """The job that `body` asks for, in the engine's own form; raises BadRequest and its kin."""
        ...

    def submit(self, job: J, box: Box) -> None:
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


AnyEngine: TypeAlias = Engine[Any]


def served_names(model: Sequence[str], engine: AnyEngine) -> tuple[str, ...]:
    """The names that may be asked for now: the model's own, and those with an adapter."""
    return tuple(model) if engine.adapters is None else engine.adapters.names
