"""Who sits in which slot of the KV cache, and what else lies there. Pure: no torch, no clock.

A slot is one row of the cache, an entry of it the keys and values of one token; an adapter's own
come before those of the tokens. What a finished sequence leaves in it stays until another one needs
the room, so that a prompt which begins like it is read from where they part.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .adapter import BASE, Adapter
from .sequence import Sequence, Tokens

NOTHING: Tokens = np.empty(0, dtype=np.int32)
WORTH = 16  # tokens; a shorter prefix is read again sooner than it is copied


@dataclass(frozen=True, slots=True)
class Copy:
    """The first `length` entries, from one slot to another."""

    source: int
    target: int
    length: int


@dataclass(frozen=True, slots=True)
class Swap:
    """Two slots exchange what they hold, as many entries as the longer one has."""

    first: int
    second: int
    length: int


@dataclass(frozen=True, slots=True)
class Fill:
    """The adapter's own entries, to the slot's beginning."""

    target: int
    adapter: Adapter


Move = Copy | Swap | Fill


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """One row. `left` is what a sequence that is gone has left in it, `freed` when it went; all of
    it was computed with `adapter`."""

    owner: Sequence | None
    left: Tokens
    freed: int
    adapter: Adapter = BASE

    @property
    def known(self) -> Tokens:
        """The beginning that another prompt may share."""
        return self.left if self.owner is None else self.owner.read

    @property
    def length(self) -> int:
        """Tokens that are in it."""
        return len(self.left) if self.owner is None else self.owner.computed

    @property
    def entries(self) -> int:
        """All that is in it."""
        nothing = self.owner is None and not self.length
        return 0 if nothing else self.adapter.entries + self.length


EMPTY = Slot(None, NOTHING, 0)


class KvSlots:
    """Owned by the scheduler. `worth` is the number of tokens from which on a prefix is reused."""

    def __init__(self, count: int, *, worth: int = WORTH) -> None:
        self._slots = [EMPTY] * count
        self._worth = worth
        self._leavings = 0  # counts them, and so orders them

    def __len__(self) -> int:
        return len(self._slots)

    def __getitem__(self, index: int) -> Slot:
        return self._slots[index]

    @property
    def owned(self) -> int:
        return sum(slot.owner is not None for slot in self._slots)

    def take(self, sequence: Sequence) -> list[Move] | None:
        """Seat the sequence beside its longest known prefix; None while every slot is owned.

        The moves must be done before the sequence is run. One that is scored reads its whole
        prompt.
        """
        free = [i for i, slot in enumerate(self._slots) if slot.owner is None]
        if not free:
            return None
        source, length = (None, 0) if sequence.scored else self._longest(sequence)
        if source is not None and self._gives_way(source, length, free):
            return self._seat(sequence, source, length, [])
        chosen = min(free, key=self._reluctance(source))
        return self._seat(sequence, chosen, length, _beginning(sequence, source, chosen, length))

    def free(self, sequence: Sequence, *, keep: bool = True) -> None:
        """The sequence is gone; what is in its slot stays there unless it is not to be trusted."""
        self._leavings += 1
        left = sequence.content if keep else NOTHING
        self._slots[sequence.seat] = Slot(None, left, self._leavings, sequence.adapter)
        sequence.slot, sequence.computed = None, 0

    def swap(self, first: int, second: int) -> Swap:
        """Let two slots change places."""
        slots = self._slots
        slots[first], slots[second] = slots[second], slots[first]
        for index in (first, second):
            owner = slots[index].owner
            if owner is not None:
                owner.slot = index
        return Swap(first, second, max(slots[first].entries, slots[second].entries))

    def forget(self) -> None:
        """What was left is of no use any more."""
        self._slots = [EMPTY if slot.owner is None else slot for slot in self._slots]

    def _seat(self, sequence: Sequence, index: int, length: int, moves: list[Move]) -> list[Move]:
        self._slots[index] = Slot(sequence, NOTHING, 0, sequence.adapter)
        sequence.slot, sequence.computed = index, length
        return moves

    def _longest(self, sequence: Sequence) -> tuple[int | None, int]:
        """The slot that begins like the prompt for longest, and for how many tokens.

        The prompt's last token is never among them: its logits must be computed. What another
        adapter made of the same tokens is something else.
        """
        prompt = sequence.prompt[:-1]
        lengths = [
            common(prompt, slot.known) if slot.adapter is sequence.adapter else 0
            for slot in self._slots
        ]
        longest = max(lengths, default=0)
        return (lengths.index(longest), longest) if longest >= self._worth else (None, 0)

    def _gives_way(self, source: int, length: int, free: list[int]) -> bool:
        """Whether to sit where the prefix lies, which forgets what follows it there.

        A conversation that goes on does; a beginning that many share is copied.
        """
        if source not in free:
            return False
        return free == [source] or self._slots[source].length - length <= length

    def _reluctance(self, source: int | None) -> Callable[[int], tuple[bool, int, int]]:
        """The order in which slots are given away: empty ones, then what lay there longest, and
        last the one that is copied from."""

        def order(index: int) -> tuple[bool, int, int]:
            slot = self._slots[index]
            return index == source, slot.freed if slot.length else -1, index

        return order


def _beginning(sequence: Sequence, source: int | None, chosen: int, length: int) -> list[Move]:
    """What brings the slot to the state from which the sequence goes on."""
    own = sequence.adapter.entries
    if source is not None:
        return [Copy(source, chosen, own + length)]
    return [Fill(chosen, sequence.adapter)] if own else []


def common(one: Tokens, other: Tokens) -> int:
    """The number of tokens with which both begin."""
    length = min(len(one), len(other))
    differ = one[:length] != other[:length]
    return int(differ.argmax()) if differ.any() else length
