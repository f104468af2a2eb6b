"""What is asked of a way to train, and what it must know of the model that it starts from."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ...adapters.models.checkpoint import checkpoint_at
from ...adapters.models.formats import stated_dtype
from ..learner import Learner

OWN = "model."  # what the names of a model's own tensors begin with in a Learner


@dataclass(frozen=True, slots=True)
class Base:
    """The model that a training starts from. `dtype` is the number format of its files.

    `tables` are what lies in these and is never trained, such as the bias of a router.
    """

    path: Path
    kind: type[PreTrainedModel]
    config: PretrainedConfig
    generation: GenerationConfig | None
    tokenizer: PreTrainedTokenizerBase
    dtype: torch.dtype
    tables: Mapping[str, Tensor] = field(default_factory=dict)

    def without_memory(self) -> PreTrainedModel:
        """Such a model, its weights without values, its configuration its own."""
        kind: Any = self.kind  # its constructor is not annotated
        with torch.device("meta"):
            model: PreTrainedModel = kind(copy.deepcopy(self.config))
        return model


class Method(Protocol):
    """A way to train. `keeps_base`: the model's own weights stay as they are, so they may be held
    in the format that is computed in; else they are held in float32."""

    @property
    def name(self) -> str: ...

    @property
    def keeps_base(self) -> bool: ...

    def learner(self, model: PreTrainedModel) -> Learner:
        """Freezes what stays and adds what is trained, in place; `model` may be without memory.

        What is trained is in float32, and worth nothing before `initialise`. Raises StartError for
        a model that this cannot be done to.
        """

    def initialise(self, learner: Learner, seed: int) -> None:
        """Gives what was added its first values: the same for a seed, on any device."""

    def write(self, state: Mapping[str, Tensor], base: Base, out: Path) -> None:
        """Write what was trained to the new directory `out`, so that a worker serves it.

        `state` has at least the trained tensors of the learner by its names, whole, on the host.
        Raises StartError if `out` cannot be written.
        """


def base_of(path: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Base:
    """What `model`, which was read from `path`, is; raises StartError."""
    stated = stated_dtype(checkpoint_at(path).config) or torch.float32
    generation = getattr(model, "generation_config", None)
    kept = model.state_dict()
    tables = {name: table for name, table in model.named_buffers() if name in kept}
    return Base(path, type(model), model.config, generation, tokenizer, stated, tables)
