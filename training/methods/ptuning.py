"""P-Tuning v2: a prefix of keys and values is trained before a model that stays as it is."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from ...adapters.errors import StartError
from ...adapters.models.chatglm.config import NATIVE
from ...adapters.models.chatglm.native import description_of, original_config
from ...adapters.models.directory import new_directory
from ...adapters.models.tuned.prefix import ENCODER, shape_of
from ..learner import Batch, Learner
from ..settings import TrainingSettings
from .method import Base
from .prefix import Before, PrefixEncoder, seen

OWN = "prefix_encoder."  # what the names of its tensors begin with in a learner
NAME = "danlu_prefix"  # of its attention, among transformers'
FULL = "full_attention"


class PrefixLearner(Learner):
    """Positions are the text's own: the prefix has none."""

    def __init__(self, model: PreTrainedModel, encoder: PrefixEncoder) -> None:
        super().__init__(model)
        self.prefix_encoder = encoder
        AttentionInterface.register(NAME, _attention)
        model.set_attn_implementation(NAME)

    def hidden(self, batch: Batch) -> Tensor:
        """Each layer gets the prefix as an argument, so one that is computed twice has it again."""
        encoder = self.prefix_encoder
        return self._own.base_model(  # type: ignore[no-any-return]
            input_ids=batch.ids,
            position_ids=batch.positions,
            attention_mask=seen(batch.mask, batch.ids, encoder.length),
            use_cache=False,
            before=encoder(len(batch.ids)),
        ).last_hidden_state


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    before: Before | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """transformers' interface and its own way, over what lies before the text, too."""
    if before is not None:
        layer = module.layer_idx
        key = torch.cat((before.keys[layer].to(key.dtype), key), dim=2)
        value = torch.cat((before.values[layer].to(value.dtype), value), dim=2)
    return sdpa_attention_forward(module, query, key, value, attention_mask, **options)


@dataclass(frozen=True, slots=True)
class PTuning:
    """`length` tokens; `projected` through a network as wide as the model's hidden states."""

    length: int = 128
    projected: bool = False
    name: str = "ptuning"
    keeps_base: bool = True

    @classmethod
    def of(cls, settings: TrainingSettings) -> "PTuning":
        return cls(settings.pre_seq_len, settings.prefix_projection)

    def learner(self, model: PreTrainedModel) -> Learner:
        model.requires_grad_(False)
        _check(model)
        inner = model.config.get_text_config().hidden_size if self.projected else None
        with model.device:
            encoder = PrefixEncoder(shape_of(model), self.length, inner)
        return PrefixLearner(model, encoder)

    def initialise(self, learner: Learner, seed: int) -> None:
        assert isinstance(learner, PrefixLearner)
        learner.prefix_encoder.initialise(torch.Generator().manual_seed(seed))

    def write(self, state: Mapping[str, Tensor], base: Base, out: Path) -> None:
        """As the original's `ptuning` does: config.json, and the encoder's tensors alone."""
        tensors = {
            ENCODER + name.removeprefix(OWN): tensor.clone()  # a view would be saved with the rest
            for name, tensor in state.items()
            if name.startswith(OWN)
        }
        with new_directory(out) as made:
            torch.save(tensors, made / "pytorch_model.bin")
            text = json.dumps(self._config(base), indent=2)
            (made / "config.json").write_text(text + "\n", encoding="utf-8")

    def _config(self, base: Base) -> dict[str, Any]:
        config: Any = base.config
        own = {"model_type": config.model_type}
        if hasattr(config, NATIVE):
            own = original_config(description_of(config))
        return {**own, "pre_seq_len": self.length, "prefix_projection": self.projected}


def _check(model: PreTrainedModel) -> None:
    """Every layer takes a prefix, and sees all of it however long a text is; raises StartError."""
    config: Any = model.config.get_text_config()
    kind = type(model).__name__
    ways: Any = model  # two of its attention, of which one may be its own
    if not (ways._supports_attention_backend and ways._supports_sdpa):
        raise StartError(f"{kind} has an attention of its own; train a LoRA instead of a prefix")
    others = set(getattr(config, "layer_types", None) or ()) - {FULL}
    if others or getattr(config, "sliding_window", None):
        found = min(others, default=f"sliding_window={config.sliding_window}")
        raise StartError(
            f"{kind} has {found}, where a text loses sight of a prefix; train a LoRA instead"
        )
