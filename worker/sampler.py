"""Chooses the next tokens of many sequences at once, on the device. Knows no model and no text."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from .batch import ALL, HIGHEST, Batch, Group, Row, batch_of
from .chance import a_seed
from .cuts import drawn_from_all, drawn_from_head
from .draw import ALTERNATIVES, Doubt, Draw, Quotes
from .drawing import highest, in_blocks, padded
from .job import Sampling
from .masks import rule_out
from .parcel import IDS
from .penalties import Memory, penalised
from .workspace import Workspace


class Sampler:
    """Owned by the thread that runs the model. Chooses the next token of many sequences at once.

    A sequence's tokens are the same whatever else is in the batch: each comes of its own logits,
    and of numbers that its seed and its place in the answer make. The order is transformers':
    penalties, bias, banned end tokens, then what a grammar allows, temperature and the cuts. The
    prompt counts for the repetition penalty, not for the other two, as at OpenAI. Log-probs are
    those of the model's own distribution, before any of it.
    """

    def __init__(self, slots: int, vocabulary: int, device: torch.device) -> None:
        """`vocabulary` is the number of columns that logits have."""
        assert vocabulary < IDS
        self._vocabulary = vocabulary
        self._device = device
        self._rows: dict[int, Row] = {}
        self._batch: Batch | None = None
        with torch.inference_mode():
            self._prompts = Memory(slots, vocabulary, device)
            self._answers = Memory(slots, vocabulary, device)

    @torch.inference_mode()
    def join(
        self,
        slot: int,
        sampling: Sampling,
        prompt_ids: Sequence[int],
        *,
        produced: Sequence[int] = (),
        banned: Sequence[int] = (),
        min_tokens: int = 0,
        logprobs: int | None = None,
    ) -> None:
        """Take a sequence into a free slot. One that goes on elsewhere brings what it `produced`.

        `banned` tokens cannot come before `min_tokens`; `logprobs` alternatives are wanted, None
        for no log-probabilities at all.
        """
        assert slot not in self._rows
        assert logprobs is None or logprobs <= ALTERNATIVES
        known = sorted({i for i in prompt_ids if i < self._vocabulary})
        repeating = sampling.repetition_penalty != 1
        if repeating:
            self._prompts.write(slot, known)
        if penalised(sampling):
            self._answers.write(slot, produced)
        self._rows[slot] = Row(
            slot=slot,
            sampling=sampling,
            seed=a_seed() if sampling.seed is None else sampling.seed,
            prompt=len(known) if repeating else 0,
            banned=tuple(i for i in banned if i < self._vocabulary),
            min_tokens=min_tokens,
            logprobs=logprobs,
            produced=len(produced),
        )

    def leave(self, slot: int) -> None:
        """Forget the slot's sequence; whoever joins next overwrites what the device has of it."""
        del self._rows[slot]
        self._batch = None  # its tensors are the row's too

    def plain(self, slot: int) -> bool:
        """Whether several of its tokens may be chosen at once, each `ahead` of the one before.

        That needs a next token which no earlier one has a say in, and no log-probabilities.
        """
        return self._rows[slot].plain

    def advance(self, slot: int, tokens: Sequence[int]) -> None:
        """Record tokens that were chosen `ahead` and accepted."""
        row = self._rows[slot]
        assert row.plain
        row.produced += len(tokens)

    @torch.inference_mode()
    def choose(
        self,
        logits: Tensor,
        slots: Sequence[int],
        allowed: Mapping[int, Tensor] | None = None,
        ahead: Sequence[int] | None = None,
    ) -> Draw:
        """A token for each row of `logits` [rows, vocabulary]: row i is of the sequence slots[i].

        `allowed` has bitmasks, int32 [vocabulary / 32 and up], by slot: bit j of word j // 32 lets
        token j come. With `ahead`, row i is so many tokens after those that were recorded; a slot
        that is `plain` may come several times then, and nothing of it is recorded. Never waits for
        the device.
        """
        batch = self._batch_for(slots)
        masks = {at: allowed[s] for at, s in enumerate(slots) if s in allowed} if allowed else {}
        assert logits.shape == (len(slots), self._vocabulary)
        several = {slot for slot, times in Counter(slots).items() if times > 1}
        assert not several or ahead is not None
        assert all(self._rows[slot].plain and slot not in (allowed or {}) for slot in several)
        draw = self._draw(logits, batch, masks, ahead or [0] * len(slots))
        self._record(batch, draw.tokens, several)
        return draw

    def _batch_for(self, slots: Sequence[int]) -> Batch:
        rows = [self._rows[slot] for slot in slots]
        if self._batch is None or not self._batch.is_of(rows):
            self._batch = batch_of(rows, self._vocabulary, self._device)
        return self._batch

    def _draw(
        self, logits: Tensor, batch: Batch, masks: Mapping[int, Tensor], ahead: Sequence[int]
    ) -> Draw:
        edited = batch.edited or bool(masks)
        untouched = batch.greedy and not edited and in_blocks(logits)
        scores = logits if untouched else padded(logits, batch.space.take(len(logits)))
        peaks, tokens = highest(scores)
        left = None
        if edited:
            self._edit(scores, batch, masks)
            left, tokens = highest(scores)
        if batch.temperatures is not None:
            scores.div_(batch.temperatures)
        doubts: list[Doubt] = []
        for group in batch.groups:
            if group.way != HIGHEST:
                mine = self._drawn(scores, group, ahead, doubts, batch.space)
                tokens = group.some.put(mine, into=tokens)
        if not untouched and not any(doubt.scores is scores for doubt in doubts):
            batch.space.give(scores)
        return Draw(
            tokens,
            peaks,
            left,
            rows=[(row, row.produced + more) for row, more in zip(batch.rows, ahead, strict=True)],
            doubts=doubts,
            quotes=Quotes.of(logits, batch.quoted, batch.alternatives) if batch.quoted else None,
            amend=self._amend,
        )

    def _edit(self, scores: Tensor, batch: Batch, masks: Mapping[int, Tensor]) -> None:
        if batch.penalised is not None:
            batch.penalised.apply(scores, self._prompts, self._answers, batch.space)
        if batch.edits is not None:
            batch.edits.apply(scores)
        if masks:
            rule_out(scores, masks)

    def _drawn(
        self,
        scores: Tensor,
        group: Group,
        ahead: Sequence[int],
        doubts: list[Doubt],
        space: Workspace,
    ) -> Tensor:
        """A token of each of the group's rows; doubts about them are added to `doubts`."""
        mine = group.some.of_wide(scores, space)
        spare = space.take(len(mine))
        chances = group.chances(ahead, self._device)
        if group.way == ALL:
            tokens = drawn_from_all(mine, group.limits, chances, spare)
        else:
            tokens, beyond = drawn_from_head(mine, group.limits, chances, group.way, spare)
        space.give(spare)
        if 0 < group.way < scores.shape[1]:
            doubts.append(Doubt(group.some, mine, group.limits, chances, group.way, beyond, space))
        elif mine is not scores:
            space.give(mine)
        return tokens.clamp(max=self._vocabulary - 1)  # of a row of no numbers it may be padding

    def _record(self, batch: Batch, tokens: Tensor, but: Collection[int]) -> None:
        if batch.penalised is not None:
            batch.penalised.remember(tokens, self._answers)
        for row in batch.rows:
            if row.slot not in but:
                row.produced += 1

    def _amend(self, row: Row, place: int, token: int) -> None:
        """The row's token after `place` others has turned out to be this one."""
        if self._rows.get(row.slot) is row and penalised(row.sampling):
            self._answers.amend(row.slot, place, token)
