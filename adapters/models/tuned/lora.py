"""Reads LoRA as peft writes it. What would change more than sums of two matrices is refused."""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from ...errors import StartError
from .adapter import Lora, Pair
from .files import peft_tensors, whole
from .names import Names

CONFIG = "adapter_config.json"
MATRIX = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_([AB])\.weight")
READ = frozenset(
    {"peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "bias"}
    | {"init_lora_weights"}
)
# They tell how it was trained and where its matrices are, which the matrices' names tell, too.
NO_MATTER = frozenset(
    {
        "auto_mapping",
        "base_model_name_or_path",
        "ensure_weight_tying",
        "exclude_modules",
        "inference_mode",
        "layers_pattern",
        "layers_to_transform",
        "lora_dropout",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "revision",
        "runtime_config",
        "target_modules",
        "task_type",
        "eva_config",
    }
)
PLAIN_STARTS = ("gaussian", "eva", "orthogonal")  # initialisations that leave the base as it is


def lora_at(path: Path, config: Mapping[str, Any], model: PreTrainedModel) -> Lora:
    """The LoRA in the directory `path`; raises StartError."""
    file = path / CONFIG
    _refuse(config, file)
    names, pairs = Names(model), {}
    for module, (down, up) in _matrices(path).items():
        rank = _rank(config, module, file)
        if down.shape[0] != rank or up.shape[1:] != (rank,):
            raise StartError(
                f"{path} has matrices {_by(down)} and {_by(up)} for {module}, and {CONFIG} says "
                f"that their rank is {rank}"
            )
        for native, rows in names.native(module, up):
            _check(path, native, names.size(native), down, rows)
            pairs[native] = Pair(down, rows * _scale(config, module, rank, file))
    return Lora(pairs)


def _refuse(config: Mapping[str, Any], file: Path) -> None:
    """Fields that ask for what is not done here, by their names."""
    for field, value in config.items():
        if field not in READ | NO_MATTER and value:
            raise StartError(f"{file} has {field}={value!r}, which is not served")
    if config.get("bias", "none") != "none":
        raise StartError(
            f"{file} has bias={config['bias']!r}; adapters that train biases are not served"
        )
    start = config.get("init_lora_weights", True)
    if not isinstance(start, bool | None) and start not in PLAIN_STARTS:
        raise StartError(
            f"{file} has init_lora_weights={start!r}, which changes the base model's weights; save "
            "the adapter with peft's path_initial_model_for_weight_conversion"
        )


def _matrices(path: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """A and B by the name of their module."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in peft_tensors(path).items():
        match = MATRIX.fullmatch(name)
        if match is None or tensor.dim() != 2:
            raise StartError(f"{path} holds {name}, which is no matrix of a LoRA")
        found.setdefault(match[1], {})[match[2]] = tensor
    for module, halves in found.items():
        if len(halves) != 2:
            raise StartError(f"{path} has one matrix only for {module}; it takes an A and a B")
    if not found:
        raise StartError(f"{path} has no matrices; train it first")
    return {module: (halves["A"], halves["B"]) for module, halves in found.items()}


def _rank(config: Mapping[str, Any], module: str, file: Path) -> int:
    pattern = _matching(config.get("rank_pattern") or {}, module)
    return whole(config if pattern is None else {"r": pattern}, "r", file)


def _scale(config: Mapping[str, Any], module: str, rank: int, file: Path) -> float:
    pattern = _matching(config.get("alpha_pattern") or {}, module)
    alpha = config.get("lora_alpha", 8) if pattern is None else pattern  # 8 is peft's default
    if not isinstance(alpha, int | float) or isinstance(alpha, bool):
        raise StartError(f"{file} has lora_alpha={alpha!r}; it must be a number")
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _matching(patterns: Mapping[str, Any], module: str) -> Any | None:
    """The value of the first pattern that fits the module's name or its last parts, as in peft."""
    fitting: Iterator[Any] = (
        value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module)
    )
    return next(fitting, None)


def _check(path: Path, native: str, size: tuple[int, int], down: Tensor, up: Tensor) -> None:
    rows, columns = size
    if down.shape[1] != columns or up.shape[0] != rows:
        raise StartError(
            f"{path} was trained on another model: for {native} it maps {down.shape[1]} numbers to "
            f"{up.shape[0]}, and this model's has {columns} and {rows}"
        )


def _by(matrix: Tensor) -> str:
    return f"{matrix.shape[0]}x{matrix.shape[1]}"
