"""Whom the failure of a step ends. Pure."""

from collections.abc import Container

from ..adapters.errors import OutOfMemory, ServeError
from .scheduler import Plan
from .sequence import Sequence


def blamed(
    plan: Plan, there: Container[Sequence], error: ServeError, *, tokens_lost: bool
) -> list[Sequence]:
    """Of those in the step who are still `there`: for want of memory the one that came last, so
    that the others can try again; else, or once their tokens are lost, all of them."""
    concerned = [*plan.writing, *(chunk.sequence for chunk in plan.chunks)]
    left = [sequence for sequence in concerned if sequence in there]
    left.sort(key=lambda sequence: (not sequence.decoding, sequence.order))
    one = isinstance(error, OutOfMemory) and not tokens_lost
    return left[-1:] if one else left
