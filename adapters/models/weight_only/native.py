"""danlu's own kernels for the host's processor.

Activations are bfloat16, and integers of 16 bits in a row's own units while they are multiplied.

With many rows of activations it is faster to make the weight dense, piece by piece so that a piece
stays in the processor's cache, and to multiply by that with torch; unless the processor multiplies
no bfloat16, where torch takes longest.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from ...kernels.layers import INT4, INT8, LANES
from ...kernels.library import Library
from ...kernels.linear import EVERY
from .kernel import Packed
from .pieces import by_pieces
from .rows import GROUP, Rows

DENSE_FROM = 192  # rows of activations, where torch has fast products of bfloat16
WIDTH = 4  # columns of each of them in a vector
PIECE = 2**19  # numbers of a weight that are made dense at a time
LONGEST = 65536  # columns: more could not be added up in 32 bits


class Native:
    """What both have in common."""

    dtypes = (torch.bfloat16,)
    kind: int  # to the library

    def __init__(self, library: Library) -> None:
        self.library = library
        self._dense_from = DENSE_FROM if library.bfloat16 else EVERY

    def fits(self, rows: int, columns: int) -> bool:
        return rows % LANES == 0 and columns % GROUP == 0 and columns <= LONGEST


class NativeInt8(Native):
    """A weight is [n / LANES, k / WIDTH, LANES, WIDTH], as from 0 to 255; scales are [n]."""

    bits, kind = 8, INT8

    def pack(self, rows: Rows, dtype: torch.dtype) -> Packed:
        assert rows.scale.shape[1] == 1 and rows.offset is None
        side_by_side = _bytes(rows.integers, 128).view(-1, LANES, rows.shape[1] // WIDTH, WIDTH)
        weight = side_by_side.transpose(1, 2).contiguous()
        return Packed(weight, rows.scale[:, 0].to(dtype).contiguous())

    def multiply(self, x: Tensor, packed: Packed) -> Tensor:
        if len(x) >= self._dense_from:
            return by_pieces(x, len(packed.scales), self._pieces(packed))
        found = x.new_empty((len(x), len(packed.scales)))
        self.library.call("danlu_int8", *_sizes(x, found), x, packed.weight, packed.scales, found)
        return found

    def _pieces(self, packed: Packed) -> Iterator[Tensor]:
        step = max(1, PIECE // packed.weight[0].numel())
        for some, scale in zip(
            torch.split(packed.weight, step), torch.split(packed.scales, step * LANES), strict=True
        ):
            rows = some.transpose(1, 2).to(scale.dtype).sub_(128)
            yield rows.reshape(len(scale), -1).mul_(scale[:, None])


class NativeInt4(Native):
    """A weight is [n / LANES, k / GROUP, GROUP / 2 / WIDTH, LANES, WIDTH] pairs, as from 0 to 15,
    of a column in the first half of its group and one in the other; scales and their offsets are
    [n / LANES, k / GROUP, LANES]."""

    bits, kind = 4, INT4

    def pack(self, rows: Rows, dtype: torch.dtype) -> Packed:
        n, k = rows.shape
        groups = k // GROUP
        halves = _bytes(rows.integers, 8).view(n // LANES, LANES, groups, 2, -1, WIDTH)
        low, high = halves.permute(3, 0, 2, 4, 1, 5)
        offset = torch.zeros_like(rows.scale) if rows.offset is None else rows.offset
        weight = (low | (high << 4)).contiguous()
        return Packed(weight, *(_beside(t, groups, dtype) for t in (rows.scale, offset)))

    def multiply(self, x: Tensor, packed: Packed) -> Tensor:
        weight, scales, offsets = packed
        assert offsets is not None
        n = len(weight) * LANES
        if len(x) >= self._dense_from:
            return by_pieces(x, n, self._pieces(packed))
        found = x.new_empty((len(x), n))
        parts = (x, weight, scales, offsets, found)
        self.library.call("danlu_int4", *_sizes(x, found), *parts)
        return found

    def _pieces(self, packed: Packed) -> Iterator[Tensor]:
        weight, scales, offsets = packed
        assert offsets is not None
        step = max(1, PIECE // weight[0].numel() // 2)
        parts = (torch.split(t, step) for t in (weight, scales, offsets))
        for some, scale, offset in zip(*parts, strict=True):
            numbers = torch.stack((some & 15, some >> 4), dim=2).to(scale.dtype).sub_(8)
            rows = numbers.permute(0, 4, 1, 2, 3, 5).flatten(3)  # […, LANES, groups, GROUP]
            across = (t.transpose(1, 2).unsqueeze(3) for t in (offset, scale))
            yield torch.addcmul(next(across), rows, next(across)).flatten(2).flatten(0, 1)


def _bytes(integers: Tensor, shift: int) -> Tensor:
    return (integers.to(torch.int16) + shift).to(torch.uint8)


def _beside(numbers: Tensor, groups: int, dtype: torch.dtype) -> Tensor:
    """[n, some] as [n / LANES, groups, LANES]; a longer group is several, and a whole row, too."""
    each = numbers.repeat_interleave(groups // numbers.shape[1], dim=1).to(dtype)
    return each.view(-1, LANES, groups).transpose(1, 2).contiguous()


def _sizes(x: Tensor, found: Tensor) -> tuple[int, int, int]:
    return len(x), found.shape[1], x.shape[1]
