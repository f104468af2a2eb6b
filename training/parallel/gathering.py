"""Weights as a whole again, on the first process' host; one at a time is whole on a device."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from .launch import HOST, Ranks


def gathered(
    tensors: Mapping[str, Tensor], ranks: Ranks, dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """Copies of all of `tensors` in `dtype` (their own by default); empty but on the first process.

    Every process calls it, with the same names in the same order.
    """
    wholes: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        whole = tensor.detach()
        if isinstance(whole, DTensor):
            whole = whole.full_tensor()
        if ranks.first:
            wholes[name] = whole.to(HOST, dtype or whole.dtype, copy=True)
    return wholes
