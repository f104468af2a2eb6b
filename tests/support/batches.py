"""Drives scheduler and runner on a tiny model as an engine would, every choice the likeliest."""

from collections.abc import Iterator, Sequence as Ids
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from danlu.adapters.models.tuned.adapter import Prefix
from danlu.adapters.models.tuned.reading import tuning_at
from danlu.worker.adapter import BASE, Adapter
from danlu.worker.kv_cache import KvCache
from danlu.worker.kv_slots import KvSlots
from danlu.worker.runner import Runner
from danlu.worker.scheduler import Plan, Scheduler
from danlu.worker.sequence import Sequence
from danlu.worker.shapes import Shapes
from danlu.worker.suitability import fitted
from danlu.worker.tunings import Tunings

from .card import HOST

LENGTH = 96  # entries of a slot


class Batch:
    """`plans` has every step that was run, `logits` those for each new token of a sequence,
    on the host."""

    def __init__(
        self, model: Any, *, slots: int = 6, concurrency: int = 6, fixed: bool = False
    ) -> None:
        fit = fitted(model, LENGTH)
        assert not fit.reason, fit.reason
        self.model, self.tunings = model, Tunings(model)
        cache = KvCache(fit.layers, slots, LENGTH, model.dtype, model.device)
        shapes = Shapes(length=LENGTH, rows=slots, part=64, fixed=fixed)
        self._runner = Runner(model, cache, shapes, self.tunings)
        self._slots = KvSlots(slots)
        self._scheduler = Scheduler(self._slots, concurrency=concurrency, chunk=64)
        self._asked: dict[Sequence, int] = {}
        self.logits: dict[Sequence, list[Tensor]] = {}
        self.plans: list[Plan] = []

    def load(self, name: str, path: Path) -> Adapter:
        tuning = tuning_at(path, self.model)
        adapter = Adapter(name)
        if isinstance(tuning, Prefix):
            adapter = Adapter(name, tuning.length, tuning.first)
        self.tunings.load(adapter, tuning)
        return adapter

    def ask(self, prompt: Ids[int], adapter: Adapter = BASE, *, tokens: int = 6) -> Sequence:
        """A request for so many tokens; it waits for `run`."""
        assert self.tunings.enter(adapter)
        sequence = Sequence(prompt, number=len(self.logits), adapter=adapter)
        self._asked[sequence], self.logits[sequence] = tokens, []
        self._scheduler.add(sequence)
        return sequence

    def run(self, budget: int = 64, steps: int = 10**6) -> None:
        """Until all is answered, or for so many steps; `budget` tokens of prompts in each."""
        for _ in range(steps):
            plan = self._scheduler.plan(budget)
            if plan.idle:
                return
            self.plans.append(plan)
            self._runner.move(plan)
            result = self._runner.run(plan)
            self._scheduler.done(plan)
            for sequence, row in zip(plan.due, result.due, strict=True):
                self._take(sequence, row)

    def forget(self) -> None:
        """What was computed so far is computed again."""
        self._slots.forget()

    def moves(self, kind: type[Any]) -> Iterator[Any]:
        return (move for plan in self.plans for move in plan.moves if isinstance(move, kind))

    def _take(self, sequence: Sequence, row: Tensor) -> None:
        self.logits[sequence].append(row.to(HOST, copy=True))
        sequence.tokens.append(int(row.argmax()))
        if len(self.logits[sequence]) == self._asked[sequence]:
            self._scheduler.remove(sequence)
            self.tunings.leave(sequence.adapter)

    def said(self, sequence: Sequence) -> list[int]:
        return sequence.tokens[len(sequence.prompt) :]


def apart(batch: Batch, sequence: Sequence, expected: Tensor) -> float:
    """The largest difference between a sequence's logits and those of its whole text alone."""
    first = len(sequence.prompt) - 1
    rows = torch.stack(batch.logits[sequence])
    return float((rows - expected[first : first + len(rows)]).abs().max())
