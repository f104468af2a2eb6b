"""Reads trained prefixes: P-Tuning v2 as the original ChatGLM2 writes it, and peft's PREFIX_TUNING.

Both come to keys and values of every layer. They differ in where a text begins: the original counts
its positions from 0, peft goes on after the prefix.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn.functional import linear
from transformers import PreTrainedModel

from ...errors import StartError
from ..checkpoint import weight_files
from .adapter import Prefix
from .files import copied, peft_tensors, whole

ENCODER = "transformer.prefix_encoder."
EMBEDDING = f"{ENCODER}embedding.weight"
PROJECTION = tuple(f"{ENCODER}trans.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias"))
PEFT_EMBEDDING = "prompt_embeddings"  # the projection, if there was one, is done when it is saved


@dataclass(frozen=True, slots=True)
class Shape:
    """Layers of a model, heads of each one's keys, and the channels of a head."""

    layers: int
    heads: int
    size: int

    @property
    def width(self) -> int:
        """Numbers that one token's keys and values take in all layers."""
        return 2 * self.layers * self.heads * self.size


def original_prefix_at(path: Path, config: Mapping[str, Any], model: PreTrainedModel) -> Prefix:
    """A checkpoint of the original's `ptuning`; raises StartError."""
    found = copied(weight_files(path))
    strange = sorted(name for name in found if not name.startswith(ENCODER))
    if strange:
        raise StartError(
            f"{path} holds {strange[0]}, which is no part of a prefix; an adapter is what P-Tuning "
            "v2 saves, without the model"
        )
    projected = bool(config.get("prefix_projection"))
    wanted = {EMBEDDING, *(PROJECTION if projected else ())}
    if odd := sorted(wanted ^ found.keys()):
        word = "lacks" if odd[0] in wanted else "holds"
        said = f"prefix_projection={str(projected).lower()}"
        raise StartError(f"{path} {word} {odd[0]}, and its config.json says {said}")
    length = whole(config, "pre_seq_len", path / "config.json")
    numbers = found[EMBEDDING]
    if projected:
        numbers = _projected(path, numbers, [found[name] for name in PROJECTION])
    return _prefix(path, numbers, length, shape_of(model), first=0)


def peft_prefix_at(path: Path, config: Mapping[str, Any], model: PreTrainedModel) -> Prefix:
    """A prefix as peft saves it; raises StartError."""
    file = path / "adapter_config.json"
    for field in ("modules_to_save",):
        if config.get(field):
            raise StartError(f"{file} has {field}={config[field]!r}, which is not served")
    found = peft_tensors(path)
    if set(found) != {PEFT_EMBEDDING}:
        raise StartError(
            f"{path} holds {', '.join(sorted(found)) or 'nothing'}; a prefix of peft's is "
            f"{PEFT_EMBEDDING} alone"
        )
    length = whole(config, "num_virtual_tokens", file)
    return _prefix(path, found[PEFT_EMBEDDING], length, shape_of(model), first=length)


def shape_of(model: PreTrainedModel) -> Shape:
    config: Any = model.config.get_text_config()
    heads = config.num_attention_heads
    return Shape(
        layers=config.num_hidden_layers,
        heads=getattr(config, "num_key_value_heads", None) or heads,
        size=getattr(config, "head_dim", None) or config.hidden_size // heads,
    )


def _projected(path: Path, numbers: Tensor, weights: list[Tensor]) -> Tensor:
    """What the original's small network makes of the embedding [length, width]."""
    inner, inner_bias, outer, outer_bias = weights
    try:
        return linear(linear(numbers, inner, inner_bias).tanh(), outer, outer_bias)
    except RuntimeError as exc:
        raise StartError(f"{path} is damaged: its projection does not fit: {exc}") from exc


def _prefix(path: Path, numbers: Tensor, length: int, shape: Shape, first: int) -> Prefix:
    """`numbers` [length, width]: of every token layer by layer keys, then values."""
    if numbers.shape != (length, shape.width):
        said = "x".join(map(str, numbers.shape))
        raise StartError(
            f"{path} was trained on another model: its prefix is {said}, and {length} tokens of "
            f"this model with {shape.layers} layers of {shape.heads} heads of {shape.size} take "
            f"{length}x{shape.width}"
        )
    layers = numbers.view(length, 2 * shape.layers, shape.heads, shape.size).permute(1, 2, 0, 3)
    keys, values = (tuple(layers[kind::2].contiguous().unbind()) for kind in (0, 1))
    return Prefix(keys, values, first)
