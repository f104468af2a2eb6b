"""The tensors and numbers of an adapter's files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import StartError
from ..chatglm.shards import tensors_in

WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")  # the first that is there is read


def peft_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors by name, in memory; raises StartError."""
    for name in WEIGHTS:
        if (path / name).is_file():
            return copied([path / name])
    raise StartError(f"{path} has no weights: no {' and no '.join(WEIGHTS)} is in it")


def copied(files: list[Path]) -> dict[str, Tensor]:
    """The tensors of `files` in float32, which is what small sums are made in."""
    return {name: tensor.to(torch.float32, copy=True) for name, tensor in tensors_in(files)}


def whole(config: Mapping[str, Any], field: str, file: Path) -> int:
    """A positive integer of a configuration; raises StartError."""
    value = config.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise StartError(f"{file} has {field}={value!r}; it must be a positive integer")
    return value
