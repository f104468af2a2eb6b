"""Makes tokens that were there before less probable. Remembers them on the device, slot by slot."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .job import Sampling

LEAST = 64  # columns; rows of a memory grow to twice their length when they are full


class Memory:
    """Token ids of every slot, a row each, filled up with `nothing`, which is no token.

    Owned by the thread that runs the model. Its size is that of the longest row, whatever the
    vocabulary's.
    """

    def __init__(self, slots: int, nothing: int, device: torch.device) -> None:
        self._nothing = nothing
        self._ids = torch.full((slots, LEAST), nothing, dtype=torch.long, device=device)
        self._lengths = torch.zeros(slots, dtype=torch.long, device=device)

    def write(self, slot: int, ids: Sequence[int]) -> None:
        """Put these in place of what the slot has."""
        self._grow(len(ids))
        self._ids[slot].fill_(self._nothing)
        self._ids[slot, : len(ids)].copy_(torch.tensor(ids, dtype=torch.long), non_blocking=True)
        self._lengths[slot].fill_(len(ids))

    def append(self, slots: Tensor, tokens: Tensor, longest: int) -> None:
        """One token more for each of `slots`; none of them has more than `longest` yet."""
        self._grow(longest + 1)
        at = self._lengths.index_select(0, slots)
        self._ids.index_put_((slots, at), tokens)
        self._lengths.index_add_(0, slots, torch.ones_like(slots))

    def amend(self, slot: int, place: int, token: int) -> None:
        """Put this in place of a token."""
        self._ids[slot, place].fill_(token)

    def of(self, slots: Tensor, longest: int) -> Tensor:
        """The rows of `slots`, [slots, longest or some more]."""
        columns = -(-longest // LEAST) * LEAST  # few shapes
        return self._ids[:, :columns].index_select(0, slots)

    def _grow(self, length: int) -> None:
        width = self._ids.shape[1]
        if length > width:
            more = max(width, -(-length // LEAST) * LEAST - width)
            self._ids = torch.nn.functional.pad(self._ids, (0, more), value=self._nothing)


class Penalties:
    """The penalties of some sequences: the repetition penalty for what prompt and answer hold, the
    other two for the answer, as at OpenAI."""

    def __init__(self, hows: Sequence[Sampling], device: torch.device) -> None:
        def column(values: list[float], off: float) -> Tensor | None:
            """[rows, 1]; None if it is off in all of them."""
            if all(value == off for value in values):
                return None
            column = torch.tensor(values, dtype=torch.float32).unsqueeze(1)
            return column.to(device, non_blocking=True)

        self._repetition = column([how.repetition_penalty for how in hows], off=1)
        self._presence = column([how.presence_penalty for how in hows], off=0)
        self._frequency = column([how.frequency_penalty for how in hows], off=0)

    def apply(self, scores: Tensor, prompts: Tensor, answers: Tensor) -> None:
        """Change `scores` [rows, columns], given the ids of prompts and answers [rows, any]."""
        if self._repetition is not None:
            seen = torch.cat([prompts, answers], dim=1)
            old = scores.gather(1, seen)
            new = torch.where(old < 0, old * self._repetition, old / self._repetition)
            scores.scatter_(1, seen, new)
        if self._presence is not None:
            scores.scatter_(1, answers, scores.gather(1, answers) - self._presence)
        if self._frequency is not None:
            scores.scatter_add_(1, answers, -self._frequency.expand(answers.shape))


def penalised(sampling: Sampling) -> bool:
    return (
        sampling.repetition_penalty != 1
        or sampling.presence_penalty != 0
        or sampling.frequency_penalty != 0
    )
