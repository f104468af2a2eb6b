"""The sizes that steps are rounded up to, so that a device sees few shapes. Pure arithmetic.

A processor takes any shape and pays for each row, so there only attention's length is rounded. A
card prepares each shape when it sees it first, and is busy with the weights in any case: there
everything is rounded up to one of a few sizes, all of which can be run once before they are needed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

STRIDE = 64  # tokens; lengths are multiples of it
SHORTEST = 128  # tokens; the smallest length on a card
PART = 16  # tokens; the smallest part of a prompt on a card


@dataclass(frozen=True, slots=True)
class Shapes:
    """`length` is the most tokens of a slot, `rows` of slots that decode, `part` of one prompt in a
    step; `fixed` for a card."""

    length: int
    rows: int
    part: int
    fixed: bool

    @property
    def warmed(self) -> int:
        """The most entries of a slot that a trial of every shape writes."""
        return self.length if self.fixed else min(self.all_parts())

    def rows_for(self, count: int) -> int:
        """Rows to compute for slots 0 to `count` - 1."""
        return min(power(count), self.rows) if self.fixed and count else count

    def length_for(self, tokens: int) -> int:
        """The length that attention runs over."""
        if self.fixed:
            return min(max(power(tokens), SHORTEST), self.length)
        return min(-(-tokens // STRIDE) * STRIDE, self.length)

    def part_for(self, tokens: int) -> int:
        """Tokens to compute for a part of a prompt."""
        return max(power(tokens), PART) if self.fixed else tokens

    def group_for(self, tokens: int) -> int:
        """Tokens to compute for those of a step that share an adapter."""
        return power(tokens) if self.fixed else tokens

    def all_rows(self) -> Iterator[int]:
        """Every number of rows, smallest first."""
        return _doubled(1, self.rows)

    def all_lengths(self) -> Iterator[int]:
        return _doubled(min(SHORTEST, self.length), self.length)

    def all_parts(self) -> Iterator[int]:
        return _doubled(min(PART, self.part), self.part)


def power(count: int) -> int:
    """The power of two that is at least `count`, and 1 for none."""
    return 1 << max(count - 1, 0).bit_length()


def _doubled(first: int, last: int) -> Iterator[int]:
    while first < last:
        yield first
        first *= 2
    yield last
