"""Several samples to a row, so that little of it is padding. Pure."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence

TOGETHER = 2048  # samples: enough to fill rows to the brim, few enough to leave the order to chance


def packed(samples: Sequence[int], lengths: Sequence[int], room: int) -> list[tuple[int, ...]]:
    """Rows of at most `room` tokens, unless a sample alone is longer."""
    return [
        row
        for start in range(0, len(samples), TOGETHER)
        for row in _best_fit(samples[start : start + TOGETHER], lengths, room)
    ]


def _best_fit(
    samples: Sequence[int], lengths: Sequence[int], room: int
) -> Iterator[tuple[int, ...]]:
    """The longest first, each into the row that it fills best."""
    rows: list[list[int]] = []
    left: list[tuple[int, int]] = []  # tokens that fit in yet, and the row's number; sorted
    for sample in sorted(samples, key=lambda i: -lengths[i]):
        need = lengths[sample]
        at = bisect_left(left, (need, -1))
        if at == len(left):
            rows.append([sample])
            number, free = len(rows) - 1, room - need
        else:
            free, number = left.pop(at)
            rows[number].append(sample)
            free -= need
        insort(left, (free, number))
    return (tuple(row) for row in rows)
