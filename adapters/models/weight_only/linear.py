"""A linear layer whose weight stays packed."""

import torch
from torch import Tensor, nn

from ...kernels.layers import Parts
from .kernel import Kernel, Packed
from .native import Native
from .rows import Rows, rounded


class WeightOnlyLinear(nn.Module):
    """In place of `layer`, whose size and bias it has. Takes and gives one format of numbers."""

    bias: nn.Parameter | None
    weight: Tensor
    scales: Tensor
    offsets: Tensor | None

    def __init__(self, layer: nn.Linear, kernel: Kernel, packed: Packed) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.register_parameter("bias", layer.bias)
        for name, tensor in packed._asdict().items():
            self.register_buffer(name, tensor)
        self._kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype not in self._kernel.dtypes or x.shape[-1] != self.in_features:
            raise TypeError(
                f"a packed layer takes {self.in_features} columns of {self._kernel.dtypes[0]}, "
                f"not {x.shape[-1]} of {x.dtype}"
            )
        packed = Packed(self.weight, self.scales, self.offsets)
        rows = x.reshape(-1, self.in_features).contiguous()
        found = self._kernel.multiply(rows, packed)
        if self.bias is not None:
            found = found + self.bias
        return found.view(*x.shape[:-1], self.out_features)

    def parts(self) -> Parts | None:
        """For danlu's own library; None where the kernel is another's."""
        kernel = self._kernel
        if not isinstance(kernel, Native):
            return None
        own = (self.weight, self.scales, self.offsets, self.bias)
        return Parts(kernel.library, kernel.kind, self.out_features, *own)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bits={self._kernel.bits}"


def packed_linear(
    layer: nn.Linear, weight: Tensor | Rows, kernel: Kernel, dtype: torch.dtype
) -> WeightOnlyLinear:
    """`layer` with `weight`, rounded where it is not yet, packed on the device where it lies."""
    rows = weight if isinstance(weight, Rows) else rounded(weight, kernel.bits, dtype)
    return WeightOnlyLinear(layer, kernel, kernel.pack(rows, dtype))
