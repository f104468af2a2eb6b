"""Which linear layers a LoRA is trained on, by a model's own names or the original ChatGLM's."""

from collections.abc import Iterable, Mapping, Sequence

from torch import nn
from transformers import PreTrainedModel

from ...adapters.errors import StartError
from ...adapters.models.chatglm.config import NATIVE
from ...adapters.models.chatglm.names import parts
from ...adapters.models.chatglm.native import description_of
from ...adapters.models.weight_only.linear import WeightOnlyLinear

WEIGHT = ".weight"


def chosen(model: PreTrainedModel, wanted: Sequence[str]) -> tuple[str, ...]:
    """The full names of the linear layers that `wanted` names in full or by their last parts.

    All inside the decoder layers if nothing is wanted: not the head, nor what embeds. Raises
    StartError for a name that the model has not, with those it has.
    """
    there = linear_layers(model)
    if not there:
        raise StartError(
            f"{type(model).__name__} has no linear layers inside its decoder layers, and LoRA is "
            "trained on these only"
        )
    if not wanted:
        return there
    originals = _originals(model)
    found: set[str] = set()
    for name in wanted:
        named = set(_named(name, {layer: (layer,) for layer in there})) | set(
            _named(name, originals)
        )
        if not named:
            raise StartError(_unknown(model, name, there, originals))
        found |= named
    return tuple(layer for layer in there if layer in found)


def linear_layers(model: PreTrainedModel) -> tuple[str, ...]:
    """The full names of all linear layers inside the decoder layers, in their order."""
    count = model.config.get_text_config().num_hidden_layers
    stacks = tuple(
        f"{name}."
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == count
    )
    return tuple(
        name
        for name, module in model.named_modules()
        if _is_linear(module) and name.startswith(stacks)
    )


def shortest(model: PreTrainedModel, layers: Sequence[str]) -> list[str]:
    """Names that mean just `layers`: their last parts if these do, else the full ones."""
    lasts = sorted({name.rpartition(".")[2] for name in layers})
    every = [n for n, m in model.named_modules() if n.rpartition(".")[2] in lasts and _is_linear(m)]
    return lasts if sorted(every) == sorted(layers) else list(layers)


def _is_linear(module: nn.Module) -> bool:
    """Dense or packed."""
    return type(module) in (nn.Linear, WeightOnlyLinear)


def _named(name: str, table: Mapping[str, tuple[str, ...]]) -> Iterable[str]:
    for full, layers in table.items():
        if full == name or full.endswith(f".{name}"):
            yield from layers


def _originals(model: PreTrainedModel) -> dict[str, tuple[str, ...]]:
    """The native layers of each of the original's, which has q, k and v in one."""
    if not hasattr(model.config, NATIVE):
        return {}
    table = parts(description_of(model.config))  # type: ignore[arg-type]
    return {
        name.removesuffix(WEIGHT): tuple(native.removesuffix(WEIGHT) for native in part.natives)
        for name, part in table.items()
        if part.quantised  # the linear layers
    }


def _unknown(
    model: PreTrainedModel, name: str, there: Sequence[str], originals: Mapping[str, object]
) -> str:
    own, old = (
        ", ".join(dict.fromkeys(full.rpartition(".")[2] for full in names))
        for names in (there, originals)
    )
    also = f", or by the original's names {old}" if old else ""
    return (
        f"--lora-target-modules has {name!r}, which is no linear layer of this "
        f"{model.config.model_type}; there are {own}{also}"
    )
