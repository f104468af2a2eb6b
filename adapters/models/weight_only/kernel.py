"""What is asked of a kernel for packed weights, and which one a device has."""

from collections.abc import Mapping
from importlib import import_module
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ...kernels.library import Library
from .rows import Rows


class Packed(NamedTuple):
    """A weight in a kernel's own layout."""

    weight: Tensor
    scales: Tensor
    offsets: Tensor | None = None


class Kernel(Protocol):
    """Multiplies by weights of `bits` on one kind of device.

    `dtypes` are the number formats of activations that it takes, the usual one first.
    """

    bits: int
    dtypes: tuple[torch.dtype, ...]

    def fits(self, rows: int, columns: int) -> bool:
        """Whether it takes a weight of this size."""
        ...

    def pack(self, rows: Rows, dtype: torch.dtype) -> Packed:
        """`rows`, which lie on its device, for activations of `dtype`."""
        ...

    def multiply(self, x: Tensor, packed: Packed) -> Tensor:
        """x [m, k] by the transposed weight: [m, n]. No row of it depends on another one."""
        ...


KERNELS: Mapping[tuple[str, int], tuple[str, str]] = {  # only what is asked for is imported
    ("own", 8): (".native", "NativeInt8"),
    ("own", 4): (".native", "NativeInt4"),
    ("cpu", 8): (".cpu", "CPUInt8"),
    ("cpu", 4): (".cpu", "CPUInt4"),
    ("cuda", 8): (".cuda", "CUDAInt8"),
    ("cuda", 4): (".cuda", "CUDAInt4"),
    ("npu", 8): (".npu", "NPUInt8"),
    ("npu", 4): (".npu", "NPUInt4"),
}


def kernel_for(device: str, bits: int, library: Library | None = None) -> Kernel:
    """The kernel of "cpu", "npu:1" and so on, from danlu's own `library` where it has it.

    Raises StartError where the device's library lacks it.
    """
    own = library is not None and library.integers and device == "cpu"
    module, cls = KERNELS["own" if own else device.partition(":")[0], bits]
    made = getattr(import_module(module, __package__), cls)
    kernel: Kernel = made(library) if own else made()
    return kernel
