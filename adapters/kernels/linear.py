"""Linear layers of a model on the host whose products of few rows are computed by the library."""

import logging
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from .library import Library

log = logging.getLogger(__name__)

# Rows up to which the library is faster than torch: measured with AVX-512 by
# `python -m benchmarks.few_rows`.
FEW = {torch.float32: 32, torch.bfloat16: 64}
FUNCTIONS = {torch.float32: "danlu_float32", torch.bfloat16: "danlu_bfloat16"}
STEP = 32  # columns that it takes at a time at most


class FewRowsLinear(nn.Linear):
    """A linear layer that only changed its class: its weight stays where and what it was."""

    library: ClassVar[Library]

    def forward(self, x: Tensor) -> Tensor:
        rows = x.numel() // self.in_features
        if rows > FEW[self.weight.dtype] or x.dtype is not self.weight.dtype:
            return linear(x, self.weight, self.bias)
        return few_rows(self.library, x, self.weight, self.bias)


def few_rows(library: Library, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`linear` of x […, k] with `weight` [n, k], both of one format that `takes` says yes to.

    To the bit, no row depends on how many others there are.
    """
    n, k = weight.shape
    x = x.contiguous()
    found = x.new_empty((*x.shape[:-1], n))
    library.call(FUNCTIONS[x.dtype], x.numel() // k, n, k, x, weight, bias, found)
    return found


def takes(library: Library, weight: Tensor) -> bool:
    if weight.device.type != "cpu" or weight.dtype not in FUNCTIONS:
        return False
    known = weight.dtype == torch.float32 or library.bfloat16
    return known and weight.is_contiguous() and weight.shape[1] % STEP == 0


def use(library: Library, model: nn.Module) -> None:
    """From now on `model` computes with it, where its layers' sizes and formats allow.

    The model is for inference: no gradient goes through these layers.
    """
    kind = type("FewRowsLinear", (FewRowsLinear,), {"library": library})
    count = 0
    for layer in model.modules():
        if type(layer) is nn.Linear and takes(library, layer.weight):
            layer.__class__ = kind
            count += 1
    log.info("own kernels layers=%d", count)
