"""Which samples are learned in which step, row and process. Pure: knows lengths, not content.

An epoch's order depends on the seed and the epoch's number alone, so a run goes on from any step
without having kept a state of chance.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .packing import packed

T = TypeVar("T")
Row = tuple[int, ...]  # samples; several only where they are packed
MicroBatch = tuple[Row, ...]  # of one process; may be empty

WINDOW = 50  # micro-batches of all processes, among which rows are sorted by length


@dataclass(frozen=True, slots=True)
class Step:
    """For each process its micro-batches: as many for every one, since they go side by side."""

    ranks: tuple[tuple[MicroBatch, ...], ...]


def epoch_order(
    lengths: NDArray[np.int64],
    *,
    epoch: int,
    seed: int,
    rows: int,
    ranks: int,
    accumulation: int,
    grouped: bool,
    packed_length: int | None = None,
) -> list[Step]:
    """All steps of an epoch. Every sample is in exactly one, so the last step may be smaller.

    `rows` go to a process at a time, `accumulation` times a step. `grouped` puts rows of similar
    length side by side, within windows that are drawn anew each epoch. With `packed_length` rows
    are filled up to so many tokens; a longer sample has a row to itself.
    """
    chance = np.random.default_rng([seed, epoch])
    tokens: list[int] = lengths.tolist()
    drawn: list[int] = chance.permutation(len(tokens)).tolist()
    whole = [(i,) for i in drawn] if packed_length is None else packed(drawn, tokens, packed_length)
    together = rows * ranks
    if grouped:
        windows = _cut(whole, WINDOW * together)
        whole = [row for window in windows for row in _longest_first(window, tokens)]
    batches = _shuffled(list(_cut(whole, together)), together, chance)
    if grouped:
        _most_memory_first(batches, tokens)
    dealt = [deal(batch, tokens, ranks) for batch in batches]
    return [Step(tuple(zip(*step, strict=True))) for step in _cut(dealt, accumulation)]


def fixed_order(lengths: NDArray[np.int64], *, rows: int, ranks: int) -> list[Step]:
    """Every sample once, the longest first, the same each time: for evaluation."""
    tokens: list[int] = lengths.tolist()
    whole = _longest_first([(i,) for i in range(len(tokens))], tokens)
    return [
        Step(tuple((part,) for part in deal(batch, tokens, ranks)))
        for batch in _cut(whole, rows * ranks)
    ]


def deal(rows: Sequence[Row], lengths: Sequence[int], ranks: int) -> tuple[MicroBatch, ...]:
    """`rows` given out to the processes, about as many tokens to each.

    As cards are dealt by two who take turns to begin: the longest to the first, the next to the
    second …, then backwards.
    """
    hands: list[list[Row]] = [[] for _ in range(ranks)]
    for place, row in enumerate(_longest_first(rows, lengths)):
        turn, seat = divmod(place, ranks)
        hands[seat if turn % 2 == 0 else ranks - 1 - seat].append(row)
    return tuple(tuple(hand) for hand in hands)


def tokens_of(row: Row, lengths: Sequence[int]) -> int:
    return lengths[row[0]] if len(row) == 1 else sum(lengths[i] for i in row)


def _longest_first(rows: Sequence[Row], lengths: Sequence[int]) -> list[Row]:
    return sorted(rows, key=lambda row: -tokens_of(row, lengths))


def _shuffled(
    batches: list[Sequence[Row]], whole: int, chance: np.random.Generator
) -> list[Sequence[Row]]:
    """In another order; one that is not whole stays last, and with it the only uneven step."""
    even = len(batches) - (1 if batches and len(batches[-1]) < whole else 0)
    return [batches[i] for i in chance.permutation(even)] + batches[even:]


def _most_memory_first(batches: list[Sequence[Row]], lengths: Sequence[int]) -> None:
    """Memory that does not suffice is found out in the first step, not hours later."""
    whole = [batch for batch in batches if len(batch) == len(batches[0])]
    longest = [max(tokens_of(row, lengths) for row in batch) for batch in whole]
    if longest:
        most = longest.index(max(longest))
        batches[0], batches[most] = batches[most], batches[0]


def _cut(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[i : i + size] for i in range(0, len(items), size))
