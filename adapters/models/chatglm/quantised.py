"""The original's int4 and int8 weights: rows of integers, and a scale for each row.

A weight [n, k] is stored as int8 [n, k], or as int8 [n, k / 2] whose bytes hold two columns each,
the even one in the upper half; beside it lies `weight_scale` [n]. Both may be in different files.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch

from ...errors import StartError
from ..weight_only.rows import Rows
from .names import Part

SCALE = "_scale"  # behind the name of its weight

Named = tuple[str, torch.Tensor]
Weight = torch.Tensor | Rows


def paired(
    tensors: Iterable[Named], table: Mapping[str, Part], bits: int, where: Path
) -> Iterator[tuple[str, Weight]]:
    """The same tensors, those that are quantised by `table` together with their scales.

    Raises StartError, which names the directory `where`, for a half of a pair or a misfit.
    """
    halves: dict[str, torch.Tensor] = {}
    for name, tensor in tensors:
        weight = name.removesuffix(SCALE)
        if weight not in table or not table[weight].quantised:
            yield name, tensor
            continue
        halves[name] = tensor
        if weight in halves and weight + SCALE in halves:
            pair = halves.pop(weight), halves.pop(weight + SCALE)
            yield weight, _rows(*pair, bits, f"{where}: {weight}")
    for name in halves:
        other = name.removesuffix(SCALE) if name.endswith(SCALE) else name + SCALE
        raise StartError(f"{where} has {name} without {other}; a quantised weight is both")


def unpacked(pairs: torch.Tensor) -> torch.Tensor:
    """int4 columns, two in each byte of int8 [n, k / 2], as int8 [n, k]."""
    upper, lower = pairs >> 4, (pairs << 4) >> 4  # of signed bytes: the sign is kept
    return torch.stack((upper, lower), dim=-1).flatten(1)


def _rows(weight: torch.Tensor, scale: torch.Tensor, bits: int, what: str) -> Rows:
    if weight.dtype != torch.int8 or weight.dim() != 2 or scale.shape != weight.shape[:1]:
        raise StartError(
            f"{what} is {kind_of(weight)} with a scale of {kind_of(scale)}; "
            f"quantization_bit={bits} takes rows of int8 and a number for each"
        )
    return Rows(bits, unpacked(weight) if bits == 4 else weight, scale[:, None])


def kind_of(weight: Weight) -> str:
    """For a sentence: "float16 [65024, 4096]"."""
    tensor = weight.integers if isinstance(weight, Rows) else weight
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
