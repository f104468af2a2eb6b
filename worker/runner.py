"""Runs a plan: one forward of the model for all that it names. Knows no queue and no text."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..adapters.kernels.decoder import Decoder, Tokens
from .attention import CachedStep, Span
from .host_step import HostStep, Part, host_step
from .kv_cache import KvCache
from .kv_slots import Fill, Move
from .replay import Chosen, Numbers, Replays
from .scheduler import Chunk, Plan
from .sequence import Sequence
from .shapes import Shapes
from .tunings import Tunings


@dataclass(frozen=True, slots=True)
class Result:
    """`due` [rows, vocabulary]: the logits for the next token of each of `Plan.due`, in that
    order. `scored` has, for each chunk of a scored prompt, those of all its positions."""

    due: Tensor
    scored: list[tuple[Chunk, Tensor]]


class Runner:
    """Owned by the engine's thread. The model, its attention plugged in, is on the cache's device.

    What the model needs to know of a step goes to the device in a single transfer. Steps of few
    tokens are the `decoder`'s, where there is one and no adapter adds to the model's layers. Those
    that `replays` has are its own, once it is set; it lives no longer than the runner, whose
    memory is in the recordings.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        cache: KvCache,
        shapes: Shapes,
        tunings: Tunings | None = None,
        decoder: Decoder | None = None,
    ) -> None:
        self._model: Any = model
        self._decoder = decoder
        self.replays: Replays | None = None
        self._cache, self._shapes = cache, shapes
        self._tunings = tunings or Tunings(model)
        self._device = model.device
        self._columns = torch.arange(
            cache.length + shapes.part_for(shapes.part), device=self._device
        )
        self._heads = {
            heads: torch.arange(heads, device=self._device).unsqueeze(1)
            for heads in {keys.shape[1] for keys in cache.keys}
        }

    def move(self, plan: Plan) -> None:
        """Do the plan's moves. If that fails, nobody knows what lies in which slot."""
        with torch.inference_mode():
            for move in plan.moves:
                self._move(move)

    def run(self, plan: Plan, last: Chosen | None = None) -> Result:
        """Do the plan's one forward, after its moves. It may be tried again: what it writes, it
        writes to the same places. `last` are tokens that the host does not know yet."""
        host = host_step(plan, self._shapes, self._cache.spare, last.rows if last else None)
        with torch.inference_mode():
            return self._forward(host, last)

    def record(self, plan: Plan, replays: Replays, like: Tensor) -> None:
        """Have `replays` note the steps that have the shape of `plan`, which only decodes, and has
        been run; its logits were `like` these. Raises as `Recorder` does."""
        host = host_step(plan, self._shapes, self._cache.spare)
        with torch.inference_mode():
            replays.record(
                host.rows,
                host.longest,
                lambda numbers: self._modelled(host, numbers, seats=None, kept=0),
                like,
            )

    def wipe(self, sequence: Sequence, *, keep: bool = False) -> None:
        """Nothing that went wrong may stay in a slot: a NaN is not masked away.

        `keep` what a later token has shown to be right: all but the last token's own entry, which a
        step that was ahead may have written.
        """
        right = len(sequence.tokens) - 1 if keep else 0
        if keep and sequence.computed <= right:
            return
        own = sequence.adapter.entries
        end = own + len(sequence.tokens) + sequence.coming
        sequence.computed = min(sequence.computed, right) if keep else sequence.computed
        with torch.inference_mode():
            self._cache.wipe(sequence.seat, own + right if keep else 0, end)

    def erase(self, sequence: Sequence, count: int) -> None:
        """Nothing is left of so many entries after those that its slot holds."""
        start = sequence.adapter.entries + sequence.computed
        with torch.inference_mode():
            self._cache.wipe(sequence.seat, start, start + count)

    def clear(self) -> None:
        """Nothing is left of a warm-up."""
        with torch.inference_mode():
            for slot in range(self._shapes.rows):
                self._cache.wipe(slot, 0, self._shapes.warmed)

    def _move(self, move: Move) -> None:
        if isinstance(move, Fill):
            prefix = self._tunings.prefix(move.adapter)
            self._cache.fill(move.target, prefix.keys, prefix.values)
        else:
            self._cache.move(move)

    def _forward(self, host: HostStep, last: Chosen | None) -> Result:
        if self.replays is not None and self.replays.has(host):
            return Result(self.replays.run(host, last), [])
        columns = (host.ids, host.positions, host.places, host.slots, host.lengths)
        rest = (host.kept, host.seats, list(host.fed), list(host.fed.values()))
        mix = self._tunings.numbers(host.tuned, len(host.ids))
        there = self._sent(*columns, *rest, *mix)
        ids, positions, places, slots, lengths, kept, seats, where, which, *tuned = there
        if last is not None and host.fed:
            ids = ids.index_copy(0, where, last.tokens.index_select(0, which))
        if self._decoder is not None and not host.tuned and len(host.ids) <= self._decoder.most:
            mine = Tokens(ids, positions, slots, places, wanted=kept)
            return self._result(host, self._decoder.run(mine))
        numbers = Numbers(ids, positions, places, slots, lengths)
        with self._tunings.mixed(host.tuned, tuned, len(ids)):
            logits = self._modelled(host, numbers, None if host.dense else seats, kept)
        return self._result(host, logits)

    def _modelled(
        self, host: HostStep, numbers: Numbers, seats: Tensor | None, kept: Tensor | int
    ) -> Tensor:
        """[kept, vocabulary]: the model's logits for the tokens that are `kept`, 0 for all. Of the
        step's numbers only those on the device are looked at, and of `host` only its shape."""
        step = CachedStep(
            cache=self._cache,
            rows=host.rows,
            slots=seats,
            mask=(self._columns[: host.longest] < numbers.lengths.unsqueeze(1)).unsqueeze(1),
            places={
                heads: (numbers.slots * heads + each) * self._cache.length + numbers.places
                for heads, each in self._heads.items()
            },
            spans=tuple(self._span(part) for part in host.parts),
        )
        outputs = self._model(
            input_ids=numbers.ids.unsqueeze(0),
            position_ids=numbers.positions.unsqueeze(0),
            use_cache=False,
            logits_to_keep=kept,
            step=step,
            return_dict=True,
        )
        logits: Tensor = outputs.logits[0]
        return logits

    def _span(self, part: Part) -> Span:
        """A beginning is plainly causal; what fills up a fixed shape sees the first token."""
        own = self._columns[part.start : part.start + part.count].unsqueeze(1)
        plain = part.start == 0 and part.end == part.count
        mask = None if plain else self._columns[: part.end] <= own
        return Span(part.first, part.count, part.slot, part.end, mask)

    def _result(self, host: HostStep, logits: Tensor) -> Result:
        scored = [(chunk, logits[start:end]) for chunk, start, end in host.scored]
        if host.due == list(range(len(logits))):
            return Result(logits, scored)
        (due,) = self._sent(host.due)
        return Result(logits.index_select(0, due), scored)

    def _sent(self, *numbers: list[int]) -> tuple[Tensor, ...]:
        flat = torch.tensor([n for part in numbers for n in part], dtype=torch.long)
        there = flat.to(self._device, non_blocking=True)
        return tuple(torch.split(there, [len(part) for part in numbers]))
