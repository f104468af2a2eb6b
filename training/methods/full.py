"""All weights are trained, and written as a model of their own."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ...adapters.models.chatglm.config import NATIVE
from ...adapters.models.chatglm.export import TOKENIZER, export_native
from ...adapters.models.directory import new_directory
from ..learner import Learner
from ..settings import TrainingSettings
from .method import OWN, Base

HOST = "cpu"


@dataclass(frozen=True, slots=True)
class Full:
    """The model is written in the number format of its files, whatever it was trained in."""

    name: str = "full"
    keeps_base: bool = False

    @classmethod
    def of(cls, settings: TrainingSettings) -> "Full":
        return cls()

    def learner(self, model: PreTrainedModel) -> Learner:
        model.to(torch.float32)  # type: ignore[arg-type]
        model.requires_grad_(True)
        return Learner(model)

    def initialise(self, learner: Learner, seed: int) -> None:
        return None

    def write(self, state: Mapping[str, Tensor], base: Base, out: Path) -> None:
        model: Any = _model(state, base)
        if hasattr(base.config, NATIVE):
            export_native(model, base.path / TOKENIZER, out)
            return
        with new_directory(out) as made:
            model.save_pretrained(made)
            base.tokenizer.save_pretrained(made)


def _model(state: Mapping[str, Tensor], base: Base) -> PreTrainedModel:
    """The model that the tensors make; only their number format takes memory anew."""
    model = base.without_memory()
    weights = {
        name.removeprefix(OWN): tensor.to(base.dtype) if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    tables = {name: table.to(HOST) for name, table in base.tables.items()}
    model.load_state_dict({**tables, **weights}, strict=False, assign=True)
    model.tie_weights()
    lacking = [name for name, weight in model.named_parameters() if weight.is_meta]
    assert not lacking, f"the state lacks {lacking[0]}"
    model.config.dtype = base.dtype
    if base.generation is not None:
        model.generation_config = copy.deepcopy(base.generation)
    return model
