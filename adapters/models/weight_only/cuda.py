"""torch's kernels for NVIDIA cards. They take bfloat16.

From a number of rows of activations on, a weight of 8 bits is made dense for the multiplication;
one of 4 bits is in an order that the kernel alone reads. Written by torch's own schemas; no card
has run it here, tests stand in for its operators.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from ...errors import StartError
from .kernel import Packed
from .rows import Rows

DENSE_FROM = 32  # rows of activations; the kernel is made for one and a few
TILES = 8  # of 16 columns that the int4 kernel stores together
GROUPS = (256, 128, 64, 32)


class CUDAInt8:
    """`operators` is torch.ops.aten; another one stands in for it in tests."""

    bits = 8
    dtypes: tuple[torch.dtype, ...] = (torch.bfloat16,)

    def __init__(self, operators: Any = None) -> None:
        self._aten = _checked(operators, "_weight_int8pack_mm")

    def fits(self, rows: int, columns: int) -> bool:
        return rows % 32 == 0 and columns % 32 == 0

    def pack(self, rows: Rows, dtype: torch.dtype) -> Packed:
        return Packed(rows.integers.contiguous(), rows.scale[:, 0].to(dtype).contiguous())

    def multiply(self, x: Tensor, packed: Packed) -> Tensor:
        if len(x) < DENSE_FROM:
            found: Tensor = self._aten._weight_int8pack_mm(x, packed.weight, packed.scales)
            return found
        return linear(x, packed.weight.to(x.dtype)).mul_(packed.scales)


class CUDAInt4:
    """Scales are [k / group, n, 2], beside each its offset."""

    bits = 4
    dtypes: tuple[torch.dtype, ...] = (torch.bfloat16,)

    def __init__(self, operators: Any = None) -> None:
        self._aten = _checked(operators, "_weight_int4pack_mm", "_convert_weight_to_int4pack")

    def fits(self, rows: int, columns: int) -> bool:
        return rows % 8 == 0 and columns % (16 * TILES) == 0

    def pack(self, rows: Rows, dtype: torch.dtype) -> Packed:
        unsigned = (rows.integers + 8).to(torch.uint8)
        pairs = unsigned[:, ::2] << 4 | unsigned[:, 1::2]
        offset = torch.zeros_like(rows.scale) if rows.offset is None else rows.offset
        scales = torch.stack((rows.scale, offset), dim=-1).to(dtype)
        if rows.scale.shape[1] == 1:
            group = next(g for g in GROUPS if rows.shape[1] % g == 0)
            scales = scales.expand(-1, rows.shape[1] // group, -1)
        weight = self._aten._convert_weight_to_int4pack(pairs.contiguous(), TILES)
        return Packed(weight, scales.transpose(0, 1).contiguous())

    def multiply(self, x: Tensor, packed: Packed) -> Tensor:
        group = x.shape[1] // len(packed.scales)
        found: Tensor = self._aten._weight_int4pack_mm(x, packed.weight, group, packed.scales)
        return found


def _checked(operators: Any, *names: str) -> Any:
    if operators is not None:
        return operators
    for name in names:
        if not torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{name}", "CUDA"):
            raise StartError(
                f"--quantization needs {name}, which torch {torch.__version__} lacks on cuda; "
                "take a newer one, or leave the flag out"
            )
    return torch.ops.aten
