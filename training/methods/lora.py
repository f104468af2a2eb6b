"""LoRA: beside each linear layer two small matrices, trained and written as peft does."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear, LoraLayer
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...adapters.models.directory import new_directory
from ...adapters.models.weight_only.linear import WeightOnlyLinear
from ..learner import Learner
from ..settings import TrainingSettings
from .method import OWN, Base
from .targets import chosen, shortest

ADAPTER = "default"  # what peft calls an adapter that has no name
WEIGHTS = "adapter_model.safetensors"
OUTSIDE = "base_model.model."  # what the names in its files begin with


@dataclass(frozen=True, slots=True)
class Lora:
    """`targets` are names of layers as the settings have them; none means all in the layers."""

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.05
    targets: tuple[str, ...] = ()
    name: str = "lora"
    keeps_base: bool = True

    @classmethod
    def of(cls, settings: TrainingSettings) -> "Lora":
        return cls(
            settings.lora_r,
            settings.lora_alpha,
            settings.lora_dropout,
            settings.lora_target_modules,
        )

    def learner(self, model: PreTrainedModel) -> Learner:
        layers = chosen(model, self.targets)
        _inject(model, self._config(shortest(model, layers)))
        for weights in chain.from_iterable(_pairs(model)):
            weights.data = weights.data.float()
        return Learner(model)

    def initialise(self, learner: Learner, seed: int) -> None:
        """As peft does: the first matrix is random, the second 0, so that nothing changes yet."""
        chance = torch.Generator().manual_seed(seed)
        for down, up in _pairs(learner):
            drawn = nn.init.kaiming_uniform_(torch.empty(down.shape), a=sqrt(5), generator=chance)
            with torch.no_grad():
                down.copy_(drawn)
                up.zero_()

    def write(self, state: Mapping[str, Tensor], base: Base, out: Path) -> None:
        """Both matrices of each layer, in float32, and adapter_config.json."""
        tensors = {
            name.replace(f".{ADAPTER}.", ".").replace(OWN, OUTSIDE, 1): tensor.contiguous()
            for name, tensor in state.items()
            if ".lora_A." in name or ".lora_B." in name
        }
        layers = {name.removeprefix(OUTSIDE).partition(".lora_")[0] for name in tensors}
        config = self._config(shortest(base.without_memory(), sorted(layers)))
        config.base_model_name_or_path = str(base.path)
        config.inference_mode = True
        with new_directory(out) as made:
            save_file(tensors, made / WEIGHTS, metadata={"format": "pt"})
            config.save_pretrained(str(made))

    def _config(self, targets: list[str]) -> LoraConfig:
        return LoraConfig(
            task_type="CAUSAL_LM",
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # a float does, and is meant
            lora_dropout=self.dropout,
            target_modules=targets,
        )


def _inject(model: PreTrainedModel, config: LoraConfig) -> None:
    """Freezes all else. Packed layers get the same matrices as dense ones; peft warns of what it
    has not met."""
    config._register_custom_module({WeightOnlyLinear: Linear})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Unsupported layer type", UserWarning)
        inject_adapter_in_model(config, model, ADAPTER)


def _pairs(model: nn.Module) -> Iterator[tuple[nn.Parameter, nn.Parameter]]:
    """Both matrices of each layer that has them."""
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            halves: Any = layer.lora_A[ADAPTER], layer.lora_B[ADAPTER]  # peft annotates no contents
            yield halves[0].weight, halves[1].weight
