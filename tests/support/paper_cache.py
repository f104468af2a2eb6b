"""A KV cache on paper: which token's keys and values would lie where, had a model run the plans."""

from collections.abc import Iterable

from danlu.worker.kv_slots import Copy, Move, Swap
from danlu.worker.scheduler import Chunk, Plan
from danlu.worker.sequence import Sequence


class PaperCache:
    """As `KvCache` and `Runner` would do it. None is a place where nobody has written yet."""

    def __init__(self, slots: int, length: int) -> None:
        self._spare = slots
        self._rows: list[list[int | None]] = [[None] * length for _ in range(slots + 1)]

    def __getitem__(self, slot: int) -> list[int | None]:
        return self._rows[slot]

    def move(self, moves: Iterable[Move]) -> None:
        for move in moves:
            if isinstance(move, Copy):
                self._copy(move.source, move.target, move.length)
            else:
                assert isinstance(move, Swap), "nobody has a prefix on paper"
                self._copy(move.first, self._spare, move.length)
                self._copy(move.second, move.first, move.length)
                self._copy(self._spare, move.second, move.length)

    def write(self, plan: Plan) -> None:
        """What the plan's one forward writes."""
        for sequence in plan.decode:
            self._rows[sequence.seat][sequence.computed] = told(sequence, sequence.computed)
        for draft in plan.drafts:
            self._put(draft.sequence, [draft.sequence.tokens[-1], *draft.tokens])
        for chunk in plan.chunks:
            self._rows[chunk.sequence.seat][chunk.start : chunk.end] = _tokens(chunk)

    def spoil(self, plan: Plan) -> None:
        """What a forward leaves that fails on its way: nobody knows."""
        for sequence in plan.decode:
            self._rows[sequence.seat][sequence.computed] = None
        for draft in plan.drafts:
            self._put(draft.sequence, [None] * (1 + len(draft.tokens)))
        for chunk in plan.chunks:
            self._rows[chunk.sequence.seat][chunk.start : chunk.end] = [None] * len(_tokens(chunk))

    def _put(self, sequence: Sequence, entries: list[int | None]) -> None:
        """After what the sequence's slot holds."""
        place = slice(sequence.computed, sequence.computed + len(entries))
        self._rows[sequence.seat][place] = entries

    def _copy(self, source: int, target: int, length: int) -> None:
        self._rows[target][:length] = self._rows[source][:length]


def told(sequence: Sequence, index: int) -> int:
    """A sequence's token, also one that is on its way: in an answer they tell their places."""
    return sequence.tokens[index] if index < len(sequence.tokens) else 5 + index % 3


def _tokens(chunk: Chunk) -> list[int]:
    return chunk.sequence.tokens[chunk.start : chunk.end]
