"""A weight as integers with scales, rounded from floating numbers and made of them again.

Pure arithmetic: knows no kernel and no model.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Columns that share a scale at 4 bits: of what kernels take, what divides every width there is,
# 13696 and 576 among them, and what loses least.
GROUP = 32
SLICE = 2**20  # numbers that are rounded at a time: as many as stay in a processor's cache


@dataclass(frozen=True, slots=True)
class Rows:
    """A weight [n, k] = integers * scale + offset, on one device.

    `integers` are int8 [n, k], from -8 to 7 at 4 bits; `scale` and `offset` are [n, groups], and a
    group is k / groups columns. Without an offset it is 0.
    """

    bits: int
    integers: Tensor
    scale: Tensor
    offset: Tensor | None = None

    @property
    def shape(self) -> torch.Size:
        return self.integers.shape

    def dense(self) -> Tensor:
        """float32 [n, k]."""
        n, k = self.shape
        grouped = self.integers.to(torch.float32).view(n, self.scale.shape[1], -1)
        grouped.mul_(self.scale.to(torch.float32)[..., None])
        if self.offset is not None:
            grouped.add_(self.offset.to(torch.float32)[..., None])
        return grouped.view(n, k)

    def split(self, by: Callable[[Tensor], tuple[Tensor, ...]]) -> tuple["Rows", ...]:
        """Several weights of it: `by` splits a tensor [n, …] by its rows."""
        assert self.offset is None  # nobody splits what was rounded here
        pairs = zip(by(self.integers), by(self.scale), strict=True)
        return tuple(Rows(self.bits, integers, scale) for integers, scale in pairs)

    def copied_to(self, device: str) -> "Rows":
        """A copy, always: these may be a file's mapped pages."""
        assert self.offset is None
        integers, scale = (t.to(device, copy=True) for t in (self.integers, self.scale))
        return Rows(self.bits, integers, scale)


def rounded(weight: Tensor, bits: int, scales: torch.dtype) -> Rows:
    """The nearest that `weight` [n, k] comes to, with numbers of the format `scales` beside it.

    8 bits: a scale for each row. 4 bits: a scale and an offset for each GROUP columns of a row.
    """
    n, k = weight.shape
    one = _by_row if bits == 8 else _by_group
    parts = [
        one(part.to(torch.float32), scales) for part in torch.split(weight, max(1, SLICE // k))
    ]
    integers, scale, offset = (torch.cat(column) for column in zip(*parts, strict=True))
    return Rows(bits, integers.view(n, k), scale, offset if bits == 4 else None)


Rounded = tuple[Tensor, Tensor, Tensor]


def _by_row(weight: Tensor, scales: torch.dtype) -> Rounded:
    """Symmetric: what is 0 stays 0."""
    scale = _usable(weight.abs().amax(1, keepdim=True) / 127, scales)
    integers = (weight / scale.to(torch.float32)).round_().clamp_(-127, 127)
    return integers.to(torch.int8), scale, scale.new_empty(0)


def _by_group(weight: Tensor, scales: torch.dtype) -> Rounded:
    """From a group's least number to its greatest: cutting the outermost gains 2 % of the error."""
    grouped = weight.view(len(weight), -1, GROUP)
    low, high = grouped.amin(2), grouped.amax(2)
    scale = _usable((high - low) / 15, scales)
    offset = (low + 8 * scale.to(torch.float32)).to(scales)
    integers = (grouped - offset[..., None]).div_(scale.to(torch.float32)[..., None])
    return integers.round_().clamp_(-8, 7).to(torch.int8), scale, offset


def _usable(scale: Tensor, kind: torch.dtype) -> Tensor:
    """As it is kept, and nothing that cannot be divided by."""
    kept = scale.to(kind)
    return torch.where(kept == 0, torch.ones_like(kept), kept)
