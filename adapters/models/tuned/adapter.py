"""What fine-tuning adds to a model, by the native model's names: LoRA, or a prefix. Pure values."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Pair:
    """Adds `up` [out, rank] times `down` [rank, in] times x to what a Linear makes of x; the scale
    is in `up`."""

    down: Tensor
    up: Tensor

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return self.down.numel() + self.up.numel()


@dataclass(frozen=True, slots=True)
class Lora:
    """Pairs by the name of the Linear that each belongs to."""

    pairs: Mapping[str, Pair]

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return sum(pair.size for pair in self.pairs.values())


@dataclass(frozen=True, slots=True)
class Prefix:
    """Keys and values [heads, length, size] of every layer, which a text finds before its own.

    They are used as they are: keys are not rotated. The text's first token is at position `first`.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    first: int

    @property
    def length(self) -> int:
        return self.keys[0].shape[1]

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return sum(tensor.numel() for tensor in (*self.keys, *self.values))


Tuning = Lora | Prefix
