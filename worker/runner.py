"""Runs a plan: one forward of the model for all that it names. Knows no queue and no text."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .adapter import BASE, Adapter
from .attention import CachedStep, Span
from .kv_cache import KvCache
from .kv_slots import Fill, Move
from .scheduler import Chunk, Plan
from .sequence import Sequence
from .tunings import Tunings, grouped

LENGTHS = 64  # tokens; attention's length is a multiple of it, so that there are few shapes


@dataclass(frozen=True, slots=True)
class Result:
    """`due` [sequences, vocabulary]: the logits for the next token of each of `Plan.due`, in that
    order. `scored` has, for each chunk of a scored prompt, those of all its positions."""

    due: Tensor
    scored: list[tuple[Chunk, Tensor]]


class Runner:
    """Owned by the engine's thread. The model, its attention plugged in, is on the cache's device.

    What the model needs to know of a step goes to the device in a single transfer.
    """

    def __init__(
        self, model: PreTrainedModel, cache: KvCache, tunings: Tunings | None = None
    ) -> None:
        self._model: Any = model
        self._tunings = tunings or Tunings(model)
        self._cache = cache
        self._device = model.device
        self._columns = torch.arange(cache.length, device=self._device)
        self._heads = {
            heads: torch.arange(heads, device=self._device).unsqueeze(1)
            for heads in {keys.shape[1] for keys in cache.keys}
        }

    def run(self, plan: Plan) -> Result:
        """Do the plan's moves and its one forward."""
        with torch.inference_mode():
            for move in plan.moves:
                self._move(move)
            return self._forward(plan)

    def wipe(self, slot: int) -> None:
        """Nothing of a sequence that went wrong may stay: a NaN is not masked away."""
        with torch.inference_mode():
            self._cache.wipe(slot)

    def _move(self, move: Move) -> None:
        if isinstance(move, Fill):
            prefix = self._tunings.prefix(move.adapter)
            self._cache.fill(move.target, prefix.keys, prefix.values)
        else:
            self._cache.move(move)

    def _forward(self, plan: Plan) -> Result:
        host = HostStep(plan, self._cache.length)
        ids, positions, places, slots, kept, lengths, rows, *tuned = self._sent(host.numbers)
        step = CachedStep(
            cache=self._cache,
            rows=len(plan.decode),
            slots=None if host.dense else rows,
            mask=(self._columns[: host.longest] < lengths.unsqueeze(1)).unsqueeze(1),
            places={
                heads: (slots * heads + each) * self._cache.length + places
                for heads, each in self._heads.items()
            },
            spans=tuple(self._spans(plan)),
        )
        groups = grouped(dict(zip(host.tuned, tuned, strict=True)), len(ids))
        with self._tunings.mixed(groups):
            outputs = self._model(
                input_ids=ids.unsqueeze(0),
                position_ids=positions.unsqueeze(0),
                use_cache=False,
                logits_to_keep=kept,
                step=step,
                return_dict=True,
            )
        return _result(plan, outputs.logits[0])

    def _sent(self, numbers: list[list[int]]) -> tuple[Tensor, ...]:
        flat = torch.tensor([n for part in numbers for n in part], dtype=torch.long)
        return flat.to(self._device, non_blocking=True).split([len(part) for part in numbers])

    def _spans(self, plan: Plan) -> Iterator[Span]:
        first = len(plan.decode)
        for chunk in plan.chunks:
            before = chunk.sequence.adapter.entries
            start, end, mask = before + chunk.start, before + chunk.end, None
            count = end - start
            if start > 0:
                mask = self._columns[:end] <= self._columns[start:end].unsqueeze(1)
            yield Span(first, count, chunk.sequence.seat, end, mask)
            first += count


class HostStep:
    """A plan as numbers. `longest` is attention's length over the slots that decode; they are
    `dense` if they are the first ones without a gap. `tuned` are the adapters that add to the
    model's layers, in the order of the last numbers: which tokens of the step are theirs."""

    def __init__(self, plan: Plan, capacity: int) -> None:
        decode = plan.decode
        seats = [sequence.seat for sequence in decode]
        self.dense = seats == list(range(len(seats)))
        lengths = [1] * (max(seats, default=-1) + 1)  # of a slot in a gap: nobody reads the result
        for sequence in decode:
            lengths[sequence.seat] = sequence.adapter.entries + sequence.computed + 1
        self.longest = min(-(-max(lengths, default=0) // LENGTHS) * LENGTHS, capacity)
        self._ids: list[int] = []
        self._positions: list[int] = []
        self._places: list[int] = []
        self._slots: list[int] = []
        self._tuned: dict[Adapter, list[int]] = {}
        for sequence in decode:
            self._take(sequence, sequence.computed, sequence.computed + 1)
        kept = list(range(len(decode)))
        for chunk in plan.chunks:
            kept += _kept(chunk, len(self._ids))
            self._take(chunk.sequence, chunk.start, chunk.end)
        self.tuned = tuple(self._tuned)
        own = (self._ids, self._positions, self._places, self._slots)
        self.numbers = [*own, kept, lengths, seats, *self._tuned.values()]

    def _take(self, sequence: Sequence, start: int, end: int) -> None:
        """Tokens `start` to `end` of a sequence are the next ones of the step."""
        adapter, count = sequence.adapter, end - start
        if adapter is not BASE and not adapter.entries:
            first = len(self._ids)
            self._tuned.setdefault(adapter, []).extend(range(first, first + count))
        self._ids += sequence.tokens[start:end]
        self._positions += range(adapter.first + start, adapter.first + end)
        self._places += range(adapter.entries + start, adapter.entries + end)
        self._slots += [sequence.seat] * count


def _kept(chunk: Chunk, first: int) -> list[int]:
    """The tokens of the step whose logits are wanted for this chunk, which begins at `first`."""
    count = chunk.end - chunk.start
    if chunk.sequence.scored:
        return list(range(first, first + count))
    return [first + count - 1] if chunk.last else []


def _result(plan: Plan, logits: Tensor) -> Result:
    """Tell the rows apart that the model gave."""
    at = len(plan.decode)
    due, scored = list(range(at)), []
    for chunk in plan.chunks:
        count = len(_kept(chunk, 0))
        if chunk.sequence.scored:
            scored.append((chunk, logits[at : at + count]))
        at += count
        if chunk.last:
            due.append(at - 1)
    if len(due) == len(logits):
        return Result(logits, scored)
    return Result(logits[torch.tensor(due, dtype=torch.long, device=logits.device)], scored)
