"""QLoRA: a LoRA beside weights of 4 bits, which are those that `--quantization int4` serves.

Packed weights are buffers: processes that share a model have them whole, each of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...adapters.errors import StartError
from ...adapters.models.weight_only.packing import Packing
from ..learner import Learner
from ..settings import TrainingSettings
from .lora import Lora
from .method import Base
from .packed import TrainableInt4

HALVES = (torch.float16, torch.bfloat16)
SCALES = torch.bfloat16  # beside weights in float32: what a processor and a GPU are served with


@dataclass(frozen=True, slots=True)
class QLora:
    """`lora` on top of what is packed."""

    lora: Lora = field(default_factory=Lora)
    name: str = "qlora"
    keeps_base: bool = True

    @classmethod
    def of(cls, settings: TrainingSettings) -> "QLora":
        return cls(Lora.of(settings))

    def learner(self, model: PreTrainedModel) -> Learner:
        """The same layers are packed as for a worker: all large ones, the head too."""
        scales = model.dtype if model.dtype in HALVES else SCALES
        packing = Packing(TrainableInt4(), scales)
        names = [name for name, _ in model.named_modules() if packing.takes(model, name)]
        if not names:
            raise StartError(
                f"{type(model).__name__} has no layer that can be packed; train a LoRA, without "
                "--q-lora"
            )
        for name in names:
            layer = model.get_submodule(name)
            assert isinstance(layer, nn.Linear)
            packing.put(model, name, layer.weight.detach().to(scales))
        return self.lora.learner(model)

    def initialise(self, learner: Learner, seed: int) -> None:
        self.lora.initialise(learner, seed)

    def write(self, state: Mapping[str, Tensor], base: Base, out: Path) -> None:
        """A LoRA as any other: it goes with the packed base, and with the dense one."""
        self.lora.write(state, base, out)
