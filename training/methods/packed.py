"""A weight of 4 bits that gradients go through: what `--quantization int4` serves, on any device.

The weight itself is not trained. It is made dense anew, piece by piece, in either direction.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from ...adapters.models.weight_only.kernel import Packed
from ...adapters.models.weight_only.rows import GROUP, Rows

PIECE = 2**24  # 64 MiB in float32
LOW = 15  # the four lower bits of a byte
ZERO = 8  # what is added to an integer, so that it has no sign


class TrainableInt4:
    """A kernel for packed layers. A byte holds two columns, the even one in its upper half.

    So many numbers of a weight as a `piece` are dense at a time.
    """

    bits = 4
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16, torch.float16)

    def __init__(self, piece: int = PIECE) -> None:
        self._piece = piece

    def fits(self, rows: int, columns: int) -> bool:
        return columns % GROUP == 0

    def pack(self, rows: Rows, dtype: torch.dtype) -> Packed:
        unsigned = (rows.integers + ZERO).to(torch.uint8)
        pairs = unsigned[:, ::2] << 4 | unsigned[:, 1::2]
        offset = None if rows.offset is None else rows.offset.to(dtype)
        return Packed(pairs, rows.scale.to(dtype), offset)

    def multiply(self, x: Tensor, packed: Packed) -> Tensor:
        """x [m, k] by the transposed weight: [m, n], in the format that autocast says, if any."""
        kind = x.device.type
        if torch.is_autocast_enabled(kind):
            x = x.to(torch.get_autocast_dtype(kind))
        product: Any = _Product  # its base is not annotated
        found: Tensor = product.apply(x, self._piece, *packed)
        return found


class _Product(torch.autograd.Function):
    """x [m, k] by a packed weight [n, k]: [m, n]. Only x has a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, piece: int, *packed: Any) -> Tensor:
        ctx.piece = piece
        ctx.save_for_backward(*packed)
        found = x.new_empty((len(x), len(packed[0])))
        for rows, weight in _dense(Packed(*packed), x.dtype, piece):
            found[:, rows] = linear(x, weight)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The pieces' parts are added up in float32, however many there are."""
        (gradient,) = gradients
        packed = Packed(*ctx.saved_tensors)
        columns = 2 * packed.weight.shape[1]
        found = gradient.new_zeros((len(gradient), columns), dtype=torch.float32)
        for rows, weight in _dense(packed, gradient.dtype, ctx.piece):
            found += gradient[:, rows] @ weight
        return found.to(gradient.dtype), None, None, None, None


def _dense(packed: Packed, dtype: torch.dtype, piece: int) -> Iterator[tuple[slice, Tensor]]:
    """The weight's rows, some at a time."""
    count, half = packed.weight.shape
    step = max(1, piece // (2 * half))
    for first in range(0, count, step):
        rows = slice(first, min(count, first + step))
        yield rows, _rows(packed, rows).dense().to(dtype)


def _rows(packed: Packed, rows: slice) -> Rows:
    pairs = packed.weight[rows]
    unsigned = torch.stack((pairs >> 4, pairs & LOW), dim=-1).flatten(1)
    offset = None if packed.offsets is None else packed.offsets[rows]
    return Rows(4, unsigned.to(torch.int8) - ZERO, packed.scales[rows], offset)
