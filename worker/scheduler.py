"""Who runs in the next step. Pure: no torch, no threads, no clock.

A step decodes one token of every answer that is being written, or tries a draft of several, and
reads a part of the prompts that are not read yet. Answers in the making never wait: how much of a
step prompts may take is the caller's word, and so is what is drafted.
"""

import bisect
from collections.abc import Iterator, Mapping, Sequence as Ids
from dataclasses import dataclass

from .kv_slots import WORTH, KvSlots, Move, common
from .sequence import Sequence
from .shapes import power

SCORED_CHUNK = 64  # tokens of a prompt whose every row of logits is wanted: each is a vocabulary


@dataclass(frozen=True, slots=True)
class Chunk:
    """The part of a prompt from token `start` up to `end`."""

    sequence: Sequence
    start: int
    end: int

    @property
    def last(self) -> bool:
        """Whether the prompt is read with it, and its first token is due."""
        return self.end == len(self.sequence.prompt)


@dataclass(frozen=True, slots=True)
class Draft:
    """An answer's last token, and those that may follow it: the step tells whether they do."""

    sequence: Sequence
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """One step: first the moves, in order; then the model. `decode` is in the order of slots; who
    has a draft is not among them."""

    moves: tuple[Move, ...]
    decode: tuple[Sequence, ...]
    chunks: tuple[Chunk, ...]
    drafts: tuple[Draft, ...] = ()

    @property
    def idle(self) -> bool:
        return not (self.decode or self.drafts or self.chunks)

    @property
    def writing(self) -> list[Sequence]:
        """The answers that go on in it."""
        return [*self.decode, *(draft.sequence for draft in self.drafts)]

    @property
    def drafted(self) -> int:
        return sum(len(draft.tokens) for draft in self.drafts)

    @property
    def prompt_tokens(self) -> int:
        return sum(chunk.end - chunk.start for chunk in self.chunks)

    @property
    def due(self) -> list[Sequence]:
        """Whose next token the step gives, in the order of its logits; one with a draft gives one
        more than that has."""
        drafts = [draft.sequence for draft in self.drafts for _ in range(len(draft.tokens) + 1)]
        return [*self.decode, *drafts, *(chunk.sequence for chunk in self.chunks if chunk.last)]

    @property
    def ahead(self) -> list[int]:
        """How many of its own tokens each of `due` is ahead of the next one."""
        drafts = [number for draft in self.drafts for number in range(len(draft.tokens) + 1)]
        return [0] * len(self.decode) + drafts + [0 for chunk in self.chunks if chunk.last]


class Scheduler:
    """Owned by the engine's thread.

    At most `concurrency` sequences run, at most as many as there are slots; at most `parts` prompts
    or drafts are read in one step, `chunk` tokens of each. Sequences are seated in
    their order and none overtakes, but for one that waits for its own good: its beginning is being
    read by another at the moment, and is copied when that is done.
    """

    def __init__(
        self, slots: KvSlots, *, concurrency: int, chunk: int, parts: int | None = None
    ) -> None:
        self._slots = slots
        self._concurrency = min(concurrency, len(slots))
        self._chunk, self._parts = chunk, parts
        self._waiting: list[Sequence] = []  # in their order
        self._running: list[Sequence] = []  # in the order in which they were seated

    def __len__(self) -> int:
        return len(self._waiting) + len(self._running)

    def __iter__(self) -> Iterator[Sequence]:
        return iter([*self._running, *self._waiting])

    @property
    def decoding(self) -> int:
        return sum(sequence.decoding for sequence in self._running)

    @property
    def reading(self) -> int:
        """How many prompts are being read."""
        return len(self._running) - self.decoding

    def add(self, sequence: Sequence) -> None:
        bisect.insort(self._waiting, sequence, key=lambda other: other.order)

    def remove(self, sequence: Sequence, *, keep: bool = True) -> None:
        """It has ended, wherever it stands; `keep` what it computed for prompts to come."""
        if sequence in self._running:
            self._running.remove(sequence)
            self._slots.free(sequence, keep=keep)
        else:
            self._waiting.remove(sequence)

    def forget(self) -> None:
        """What lies in slots that nobody owns is not to be trusted."""
        self._slots.forget()

    def plan(self, budget: int, drafts: Mapping[Sequence, Ids[int]] | None = None) -> Plan:
        """The next step, which reads at most `budget` tokens of prompts and tries `drafts`; where
        the parts of prompts are counted, each of these counts as one."""
        moves = self._seat()
        ready = [s for s in self._running if s.ready]
        moves += self._close_ranks(ready)
        chunks = tuple(self._chunks(budget))
        tried = tuple(self._tried(ready, drafts or {}, beside=len(chunks)))
        rest = set(ready) - {draft.sequence for draft in tried}
        return Plan(tuple(moves), tuple(sorted(rest, key=lambda s: s.seat)), chunks, tried)

    def done(self, plan: Plan) -> None:
        """The step has been run: what it computed lies in the slots."""
        for sequence in plan.decode:
            sequence.computed += 1
        for draft in plan.drafts:
            draft.sequence.computed += 1 + len(draft.tokens)
        for chunk in plan.chunks:
            chunk.sequence.computed = chunk.end

    def _seat(self) -> list[Move]:
        moves: list[Move] = []
        for sequence in tuple(self._waiting):
            if len(self._running) >= self._concurrency:
                break
            if self._is_being_read(sequence):
                continue
            taken = self._slots.take(sequence)
            assert taken is not None, "there are as many slots as may run"
            moves += taken
            self._waiting.remove(sequence)
            self._running.append(sequence)
        return moves

    def _is_being_read(self, sequence: Sequence) -> bool:
        """Whether waiting a little saves the sequence from reading what another one reads now."""
        if sequence.scored:
            return False
        reading = (
            s
            for s in self._running
            if s.adapter is sequence.adapter and not s.decoding and not s.scored
        )
        return any(
            common(sequence.prompt[:-1], s.prompt) >= max(WORTH, s.computed + 1) for s in reading
        )

    def _close_ranks(self, decode: list[Sequence]) -> list[Move]:
        """Moves those that decode to the front, once they span more slots than the power of two
        that holds them.

        Attention runs over all slots from the first to the last of them, so gaps cost time; moving
        costs some, too.
        """
        moves: list[Move] = []
        slots = {sequence.seat for sequence in decode}
        while slots and power(max(slots) + 1) > power(len(slots)):
            last = max(slots)
            gap = min(set(range(last)) - slots)
            moves.append(self._slots.swap(gap, last))
            slots = slots - {last} | {gap}
        return moves

    def _chunks(self, budget: int) -> Iterator[Chunk]:
        """Parts of the prompts being read: half of what is left to each in turn, so that a short
        prompt is not held up by a long one; what remains goes to the first."""
        reading = [s for s in self._running if not s.decoding][: self._parts]
        shares = dict.fromkeys(reading, 0)
        for halves in (True, False):
            for sequence in reading:
                wish = min(self._wish(sequence) - shares[sequence], budget)
                part = (
                    min(wish, -(-budget // 2)) if halves and sequence is not reading[-1] else wish
                )
                shares[sequence] += part
                budget -= part
        for sequence, share in shares.items():
            if share:
                yield Chunk(sequence, sequence.computed, sequence.computed + share)

    def _tried(
        self, ready: list[Sequence], drafts: Mapping[Sequence, Ids[int]], beside: int
    ) -> list[Draft]:
        """The drafts for which there is room `beside` so many parts of prompts."""
        room = None if self._parts is None else max(self._parts - beside, 0)
        return [Draft(s, tuple(drafts[s])) for s in ready if drafts.get(s)][:room]

    def _wish(self, sequence: Sequence) -> int:
        most = SCORED_CHUNK if sequence.scored else self._chunk
        return min(len(sequence.prompt) - sequence.computed, most)
