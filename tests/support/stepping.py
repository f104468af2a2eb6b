"""A scheduler and a runner on a model, stepped by hand, as an engine's thread does it."""

import random
from collections.abc import Mapping, Sequence as Ids
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from danlu.adapters.devices.device import Device
from danlu.adapters.kernels.decoder import decoder_for
from danlu.worker.kv_cache import KvCache
from danlu.worker.kv_slots import KvSlots
from danlu.worker.loading import Progress
from danlu.worker.recording import ON, record
from danlu.worker.runner import Runner
from danlu.worker.scheduler import Plan, Scheduler
from danlu.worker.sequence import Sequence
from danlu.worker.shapes import Shapes
from danlu.worker.suitability import Fit

from .card import HOST

CHUNK = 64
WORDS = 96


class Stepped:
    """Greedy answers, step by step.

    `rows` has the logits from which each token was chosen, `scores` those of a scored prompt's
    positions, both on the host. Shapes that are `fixed` are those of a card. Steps of few tokens
    are the library's `own`; those that only decode are replayed where a `device` records them.
    """

    def __init__(
        self,
        model: Any,
        fit: Fit,
        *,
        slots: int = 4,
        length: int = 128,
        fixed: bool = False,
        own: bool = False,
        device: Device | None = None,
    ) -> None:
        assert not fit.reason, fit.reason
        self.cache = KvCache(fit.layers, slots, length, model.dtype, model.device)
        self.slots = KvSlots(slots)
        shapes = Shapes(length, rows=slots, part=min(CHUNK, length), fixed=fixed)
        self.scheduler = Scheduler(
            self.slots, concurrency=slots, chunk=CHUNK, parts=1 if fixed else None
        )
        self.decoder = decoder_for(model, self.cache.keys, self.cache.values) if own else None
        assert not own or self.decoder is not None
        self.runner = Runner(model, self.cache, shapes, decoder=self.decoder)
        if device is not None:
            record(self.runner, self.cache, shapes, device, ON, Progress())
        self.rows: dict[Sequence, list[Tensor]] = {}
        self.scores: dict[Sequence, list[Tensor]] = {}

    def add(self, prompt: Ids[int], *, scored: bool = False) -> Sequence:
        sequence = Sequence(prompt, number=len(self.rows), scored=scored)
        self.rows[sequence], self.scores[sequence] = [], []
        self.scheduler.add(sequence)
        return sequence

    def step(self, budget: int = CHUNK, drafts: Mapping[Sequence, Ids[int]] | None = None) -> Plan:
        plan = self.scheduler.plan(budget, drafts)
        if plan.idle:
            return plan
        self.runner.move(plan)
        result = self.runner.run(plan)
        self.scheduler.done(plan)
        for chunk, logits in result.scored:
            self.scores[chunk.sequence] += logits.to(HOST, copy=True)
        tried = {draft.sequence: draft.tokens for draft in plan.drafts}
        pairs = zip(plan.due, result.due, strict=True)
        for sequence, own in groupby(pairs, key=lambda pair: pair[0]):
            self._take(sequence, [row for _, row in own], tried.get(sequence, ()))
        return plan

    def _take(self, sequence: Sequence, rows: Ids[Tensor], draft: Ids[int]) -> None:
        """A token for each row, as long as those before it were guessed right."""
        for number, row in enumerate(rows):
            self.rows[sequence].append(row.to(HOST, copy=True))
            sequence.tokens.append(int(row.argmax()))
            if number < len(draft) and draft[number] != sequence.tokens[-1]:
                sequence.computed -= len(draft) - number
                break

    def until(self, sequence: Sequence, count: int, budget: int = CHUNK) -> None:
        """Step until so many tokens of the answer are there."""
        while len(self.rows[sequence]) < count:
            self.step(budget)

    def end(self, sequence: Sequence) -> None:
        self.scheduler.remove(sequence)

    def answer(self, sequence: Sequence) -> list[int]:
        return sequence.tokens[len(sequence.prompt) :]


def own_rows(model: Any, sequence: Sequence) -> Tensor:
    """What a model that nothing is plugged into says, on the host, where the sequence's tokens were
    chosen."""
    chosen = sequence.tokens[:-1]
    with torch.inference_mode():
        logits: Tensor = model(input_ids=torch.tensor([chosen]), use_cache=False).logits[0]
    return logits[len(sequence.prompt) - 1 :]


def generated(model: Any, sequence: Sequence, count: int) -> list[int]:
    """The prompt and so many tokens, as transformers' `generate` writes them."""
    prompt = torch.tensor([sequence.prompt.tolist()])
    whole = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=count,
        min_new_tokens=count,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    found: list[int] = whole[0].tolist()
    return found


def some_ids(chance: random.Random, count: int) -> list[int]:
    return [chance.randrange(WORDS) for _ in range(count)]


def answered(line: Stepped, prompt: Ids[int], mates: Ids[Ids[int]]) -> Tensor:
    """The rows that the answer to `prompt` was chosen from; mates come before it, and leave."""
    others = [line.add(mate) for mate in mates]
    line.step(40)
    sequence = line.add(prompt)
    while len(line.rows[sequence]) < 6:
        line.step(30)
        if others:
            line.end(others.pop())
    return torch.stack(line.rows[sequence][:6])
