"""What a linear layer consists of for the library: a dense weight, or a packed one."""

import ctypes
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor

from .library import Library

DENSE, INT8, INT4 = range(3)  # as in linear.h
LANES = 16  # rows of a packed weight that lie side by side


class Misfit(Exception):
    """The model has something that the library does not know."""


class Linear(ctypes.Structure):
    """As in linear.h."""

    _fields_: ClassVar = [
        ("kind", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("weight", "scales", "offsets", "bias")),
    ]


@dataclass(frozen=True, slots=True)
class Parts:
    """A layer with so many outputs, which go along each tensor's first axis. A dense weight is
    [outputs, inputs]; packed ones and their scales are as in `models/weight_only/native.py`."""

    library: Library
    kind: int
    outputs: int
    weight: Tensor
    scales: Tensor | None = None
    offsets: Tensor | None = None
    bias: Tensor | None = None

    def halves(self) -> "tuple[Parts, Parts]":
        """As two layers, the first with the first half of the outputs. Raises Misfit where they lie
        side by side."""
        outputs, rest = divmod(self.outputs, 2)
        if rest or (self.kind != DENSE and outputs % LANES):
            raise Misfit(f"a layer of {self.outputs} outputs in halves")
        names = [n for n in ("weight", "scales", "offsets", "bias") if getattr(self, n) is not None]
        pairs = {name: getattr(self, name).chunk(2) for name in names}
        one, other = ({name: pair[i] for name, pair in pairs.items()} for i in range(2))
        return replace(self, outputs=outputs, **one), replace(self, outputs=outputs, **other)


@runtime_checkable
class OwnLayer(Protocol):
    """A layer that the library may know."""

    def parts(self) -> Parts | None:
        """None where another library computes it."""
        ...


def parts_of(layer: object) -> Parts | None:
    """What the library knows of any module; None where that is nothing."""
    return layer.parts() if isinstance(layer, OwnLayer) else None
