"""torch_npu's operator for packed weights on Ascend cards, at any number of rows of activations.

It reads a weight [k, n] as (integer + offset) * scale, where ours is integer * scale + offset.
Written by its documentation; no card has run it here, tests stand in for it.
"""

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from ...errors import StartError
from .kernel import Packed
from .rows import GROUP, Rows

OPERATORS = ("npu_weight_quant_batchmatmul", "npu_convert_weight_to_int4pack")
PACKED = 8  # numbers of 4 bits to an int32, of neighbouring rows of the weight


class NPUInt8:
    """`module` is torch_npu's name; another one stands in for it in tests."""

    bits = 8
    dtypes: tuple[torch.dtype, ...] = (torch.float16, torch.bfloat16)

    def __init__(self, module: str = "torch_npu") -> None:
        self._npu = _library(module)

    def fits(self, rows: int, columns: int) -> bool:
        return rows % GROUP == 0 and columns % GROUP == 0

    def pack(self, rows: Rows, dtype: torch.dtype) -> Packed:
        return Packed(self._weight(rows), _columns(rows.scale, dtype), _offsets(rows, dtype))

    def multiply(self, x: Tensor, packed: Packed) -> Tensor:
        groups = len(packed.scales)
        found: Tensor = self._npu.npu_weight_quant_batchmatmul(
            x,
            packed.weight,
            antiquant_scale=packed.scales,
            antiquant_offset=packed.offsets,
            antiquant_group_size=x.shape[1] // groups if groups > 1 else 0,
        )
        return found

    def _weight(self, rows: Rows) -> Tensor:
        return rows.integers.t().contiguous()


class NPUInt4(NPUInt8):
    bits = 4

    def fits(self, rows: int, columns: int) -> bool:
        """A group has to be less than a whole row."""
        return rows % PACKED == 0 and columns % GROUP == 0 and columns > GROUP

    def _weight(self, rows: Rows) -> Tensor:
        packed: Tensor = self._npu.npu_convert_weight_to_int4pack(
            rows.integers.t().to(torch.int32).contiguous()
        )
        return packed


def _library(module: str) -> Any:
    library = import_module(module)
    for name in OPERATORS:
        if not hasattr(library, name):
            raise StartError(
                f"--quantization needs {name}, which this {module} lacks; take a newer one"
            )
    return library


def _columns(numbers: Tensor, dtype: torch.dtype) -> Tensor:
    """[n, groups] as the operator wants them, [groups, n]."""
    return numbers.t().to(dtype).contiguous()


def _offsets(rows: Rows, dtype: torch.dtype) -> Tensor | None:
    if rows.offset is None:
        return None
    return _columns(rows.offset.to(torch.float32) / rows.scale.to(torch.float32), dtype)
