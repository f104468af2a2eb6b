"""torch's kernels for the host's processor. They take bfloat16; at other formats they crawl.

They read a weight once for each few rows of activations. From a number of rows on it is faster to
make the weight dense, piece by piece so that a piece stays in the processor's cache, and to
multiply by that. Measured with AVX-512 on one thread, in times of bfloat16's own multiplication,
for a weight of 6848 x 1024:

    rows          1     4     8    16    32    64   512
    int8 packed  0.3   0.7   1.2   1.5   2.4   2.7   3.6
    int8 dense   2.0   1.9   1.5   1.4   1.3   1.2   1.1
    int4 packed  0.3   0.5   0.6   1.1   1.5   1.9   2.4
    int4 dense     –     –     –   4.0   2.8   2.1   1.3
"""

from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor

from .kernel import Packed
from .pieces import by_pieces
from .rows import Rows

DENSE_FROM = {8: 16, 4: 64}  # rows of activations from which a dense weight is faster, by bits
PIECE = 2**20  # numbers of a weight that are made dense at a time
GROUPS = (256, 128, 64, 32)  # columns to a scale that the int4 kernel knows
BLOCK = 64  # rows of a weight that it stores together
WIDTH = 32  # columns: the kernels' step; neither looks what lies beyond

aten = torch.ops.aten


class CPUInt8:
    bits = 8
    dtypes = (torch.bfloat16,)

    def fits(self, rows: int, columns: int) -> bool:
        return rows % BLOCK == 0 and columns % WIDTH == 0

    def pack(self, rows: Rows, dtype: torch.dtype) -> Packed:
        assert rows.scale.shape[1] == 1 and rows.offset is None
        return Packed(rows.integers.contiguous(), rows.scale[:, 0].to(dtype).contiguous())

    def multiply(self, x: Tensor, packed: Packed) -> Tensor:
        if len(x) < DENSE_FROM[self.bits]:
            found: Tensor = aten._weight_int8pack_mm(x, packed.weight, packed.scales)
            return found
        return by_pieces(x, len(packed.weight), self._pieces(packed, x)).mul_(packed.scales)

    def _pieces(self, packed: Packed, x: Tensor) -> Iterator[Tensor]:
        for some in torch.split(packed.weight, _step(x)):
            yield some.to(x.dtype)


class CPUInt4:
    """Scales are [k / group, n, 2], beside each its offset."""

    bits = 4
    dtypes = (torch.bfloat16,)

    def fits(self, rows: int, columns: int) -> bool:
        return rows % BLOCK == 0 and columns % WIDTH == 0

    def pack(self, rows: Rows, dtype: torch.dtype) -> Packed:
        unsigned = rows.integers.to(torch.int32) + 8
        offset = torch.zeros_like(rows.scale) if rows.offset is None else rows.offset
        scales = torch.stack((rows.scale, offset), dim=-1).to(dtype)
        if rows.scale.shape[1] == 1:  # one for the whole row
            group = next(g for g in GROUPS if rows.shape[1] % g == 0)
            scales = scales.expand(-1, rows.shape[1] // group, -1)
        weight = aten._convert_weight_to_int4pack_for_cpu(unsigned, 1)
        return Packed(weight, scales.transpose(0, 1).contiguous())

    def multiply(self, x: Tensor, packed: Packed) -> Tensor:
        if len(x) < DENSE_FROM[self.bits] or not layout_is_known():
            group = x.shape[1] // len(packed.scales)
            found: Tensor = aten._weight_int4pack_mm_for_cpu(x, packed.weight, group, packed.scales)
            return found
        return by_pieces(x, len(packed.weight), self._pieces(packed, x))

    def _pieces(self, packed: Packed, x: Tensor) -> Iterator[Tensor]:
        groups = len(packed.scales)
        scale, offset = packed.scales.unbind(-1)
        offset = offset - 8 * scale
        weights = torch.split(packed.weight, _step(x))
        for some, scale_, offset_ in zip(
            weights, torch.split(scale, _step(x), 1), torch.split(offset, _step(x), 1), strict=True
        ):
            grouped = unpacked(some).view(groups, -1, len(some)).to(x.dtype)
            yield torch.addcmul(offset_[:, None], grouped, scale_[:, None]).flatten(0, 1).t()


def unpacked(weight: Tensor) -> Tensor:
    """The int4 kernel's bytes [n, k / 2] as uint8 [k, n], from 0 to 15.

    Of each 64 rows and each column there are 32 bytes, with the first half of the rows in the lower
    halves of the bytes.
    """
    n, k = weight.shape[0], weight.shape[1] * 2
    pairs = weight.view(n // BLOCK, k, BLOCK // 2).transpose(0, 1)
    found = torch.empty((k, n // BLOCK, 2, BLOCK // 2), dtype=torch.uint8)
    torch.bitwise_and(pairs, 15, out=found[:, :, 0])
    torch.bitwise_right_shift(pairs, 4, out=found[:, :, 1])
    return found.view(k, n)


@cache
def layout_is_known() -> bool:
    """Whether `unpacked` is right here: on processors of other kinds torch lays the bytes out in
    another way, and only the kernel itself can read them."""
    numbers = (torch.arange(2 * BLOCK * WIDTH, dtype=torch.int32) * 7 // 5 % 16).view(-1, WIDTH)
    packed = aten._convert_weight_to_int4pack_for_cpu(numbers, 1)
    return torch.equal(unpacked(packed).t().to(torch.int32), numbers)


def _step(x: Tensor) -> int:
    """Rows of a weight in a piece."""
    return max(1, PIECE // x.shape[1] // BLOCK) * BLOCK
