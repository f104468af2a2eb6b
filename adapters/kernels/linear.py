"""Linear layers of a model on the host whose products of few rows are computed by the library."""

import logging
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from .layers import DENSE, Parts
from .library import Library

log = logging.getLogger(__name__)

# Rows up to which the library is faster than torch, by the bytes of the processor's vectors:
# `python -m benchmarks.few_rows`. Those of 16 were measured beside a torch that had 64.
MOST_ROWS = {
    64: {torch.float32: 32, torch.bfloat16: 64},
    32: {torch.float32: 24},
    16: {torch.float32: 4},
}
EVERY = 2**31  # where the processor multiplies no bfloat16, torch takes four times as long
LINE = 64  # bytes of the processor's cache that come at a time
FUNCTIONS = {torch.float32: "danlu_float32", torch.bfloat16: "danlu_bfloat16"}
STEP = 32  # columns that it takes at a time at most


class FewRowsLinear(nn.Linear):
    """A linear layer that only changed its class: its weight stays what it was."""

    library: ClassVar[Library]

    def forward(self, x: Tensor) -> Tensor:
        if self._is_for_the_library(x):
            return few_rows(self.library, x, self.weight, self.bias)
        return linear(x, self.weight, self.bias)  # which also says what is wrong

    def parts(self) -> Parts:
        """For steps of whole models; see `decoder.py`."""
        return Parts(self.library, DENSE, self.out_features, self.weight, bias=self.bias)

    def _is_for_the_library(self, x: Tensor) -> bool:
        """Whoever has the model may have moved or changed it since."""
        weight = self.weight
        fits = x.dtype is weight.dtype and x.shape[-1] == weight.shape[1]
        here = x.is_cpu and weight.is_cpu and weight.is_contiguous()
        return fits and here and x.numel() <= x.shape[-1] * most_rows(self.library, x.dtype)


def few_rows(library: Library, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`linear` of x […, k] with `weight` [n, k], both of one format that `takes` says yes to.

    To the bit, no row depends on how many others there are.
    """
    n, k = weight.shape
    x = x.contiguous()
    found = x.new_empty((*x.shape[:-1], n))
    library.call(FUNCTIONS[x.dtype], x.numel() // k, n, k, x, weight, bias, found)
    return found


def most_rows(library: Library, dtype: torch.dtype) -> int:
    """How many are few; 0 for a format that it does not know."""
    if dtype is torch.bfloat16 and not library.bfloat16:
        return EVERY
    return MOST_ROWS[library.vector].get(dtype, 0)


def takes(library: Library, weight: Tensor) -> bool:
    """Whether a layer with this weight can be computed by it."""
    here = weight.is_cpu and weight.is_contiguous() and weight.shape[1] % STEP == 0
    return here and most_rows(library, weight.dtype) > 0


def align(weight: Tensor) -> None:
    """Let it begin where a line of the cache does.

    A file's tensors lie anywhere, and then every vector of a row comes from two lines, which
    makes products of many rows a third slower.
    """
    if weight.is_cpu and weight.data_ptr() % LINE:
        weight.data = weight.data.clone(memory_format=torch.preserve_format)


def use(library: Library, model: nn.Module) -> None:
    """From now on `model` computes with it, where its layers' sizes and formats allow.

    The model is for inference: no gradient goes through these layers.
    """
    for weight in model.parameters():
        align(weight)
    kind = type("FewRowsLinear", (FewRowsLinear,), {"library": library})
    count = 0
    for layer in model.modules():
        if type(layer) is nn.Linear and takes(library, layer.weight):
            layer.__class__ = kind
            count += 1
    log.info("own kernels layers=%d", count)
