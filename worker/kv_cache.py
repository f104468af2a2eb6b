"""The keys and values of all slots, in the device's memory, allocated once. Knows no sequence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .kv_slots import Copy, Swap


@dataclass(frozen=True, slots=True)
class LayerShape:
    """Heads of a layer's keys and values, and the channels of each."""

    heads: int
    size: int


class KvCache:
    """Two tensors [slots + 1, heads, length, size] a layer. Owned by the engine's thread.

    They begin as zeros, not as whatever was there: what is masked is multiplied by nothing, and a
    NaN stays one. The last row is nobody's: two slots change places by way of it, so that no move
    needs memory.
    """

    def __init__(
        self,
        layers: Sequence[LayerShape],
        slots: int,
        length: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.spare, self.length = slots, length
        shapes = [(slots + 1, layer.heads, length, layer.size) for layer in layers]
        self.keys = [_zeros(shape, dtype, device) for shape in shapes]
        self.values = [_zeros(shape, dtype, device) for shape in shapes]

    def move(self, move: Copy | Swap) -> None:
        if isinstance(move, Copy):
            self._copy(move.source, move.target, move.length)
        else:
            self._copy(move.first, self.spare, move.length)
            self._copy(move.second, move.first, move.length)
            self._copy(self.spare, move.second, move.length)

    def fill(self, slot: int, keys: Sequence[Tensor], values: Sequence[Tensor]) -> None:
        """Put each layer's keys and values [heads, count, size] at the slot's beginning."""
        count = keys[0].shape[1]
        for caches, layers in ((self.keys, keys), (self.values, values)):
            for cache, layer in zip(caches, layers, strict=True):
                cache[slot, :, :count] = layer

    def wipe(self, slot: int, start: int, end: int) -> None:
        """Nothing is left of the slot's entries from `start` up to `end`; what was computed wrongly
        would spoil what comes after."""
        for tensor in (*self.keys, *self.values):
            tensor[slot, :, start:end].zero_()

    def _copy(self, source: int, target: int, length: int) -> None:
        for tensor in (*self.keys, *self.values):
            tensor[target, :, :length] = tensor[source, :, :length]


def slot_bytes(layers: Sequence[LayerShape], length: int, dtype: torch.dtype) -> int:
    """The memory that one slot of `length` tokens takes."""
    return sum(2 * layer.heads * layer.size for layer in layers) * length * dtype.itemsize


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """On the host, memory that is taken page by page when it is used first."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    *rows, size = shape
    return torch.from_numpy(np.zeros((*rows, size * dtype.itemsize), dtype=np.uint8)).view(dtype)
