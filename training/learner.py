"""The model as it is trained: from a batch to the sum of its losses, on one device."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from ..adapters.errors import StartError
from .scores import scores

IGNORED = -100  # a label that is not learned
PIECE = 2048  # tokens whose logits are in memory together: half a gigabyte of ChatGLM2's in float32


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one micro-batch, padded on the right.

    `ids`, `labels` and `positions` are int64 [rows, tokens]. labels[i] is ids[i] where that token
    is learned, else IGNORED; nothing is shifted yet. `mask` is None where plain causal attention
    serves (padding comes last, and nothing learned sees it), else bool [rows, 1, tokens, tokens],
    true where a token sees another (packed rows).
    """

    ids: Tensor
    labels: Tensor
    positions: Tensor
    mask: Tensor | None = None


class Learner(nn.Module):
    """A causal language model and its loss.

    It is called as a whole, so that what shards or scales a module sees every call. `model` is
    what is trained; a method that needs another way to the hidden states overrides `hidden`.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        if not hasattr(model, model.base_model_prefix):
            raise StartError(
                f"{type(model).__name__} does not say what of it lies before its output layer, so "
                "its loss is not known; train a model whose class transformers has"
            )
        self.model = model

    @property
    def _own(self) -> Any:
        """The model; transformers annotates it only in part."""
        return self.model

    def hidden(self, batch: Batch) -> Tensor:
        """[rows, tokens, width] before the output layer."""
        return self._own.base_model(  # type: ignore[no-any-return]
            input_ids=batch.ids,
            position_ids=batch.positions,
            attention_mask=self._mask(batch),
            use_cache=False,
        ).last_hidden_state

    def forward(self, batch: Batch) -> Tensor:
        """The sum, in float32, of the losses of the batch's trained tokens; a scalar.

        Only positions with a label are scored: most of a batch is prompt.
        """
        labels = batch.labels[:, 1:]
        learned = labels != IGNORED
        hidden, labels = self.hidden(batch)[:, :-1][learned], labels[learned]
        if len(labels) <= PIECE:
            return self._loss(hidden, labels)
        pieces = zip(torch.split(hidden, PIECE), torch.split(labels, PIECE), strict=True)
        losses = [checkpoint(self._loss, *piece, use_reentrant=False) for piece in pieces]
        return torch.stack(losses).sum()

    def _loss(self, hidden: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(scores(self.model, hidden).float(), labels, reduction="sum")

    def _mask(self, batch: Batch) -> Tensor | None:
        """Packed rows' own where that is all there is to attention. Where layers look through
        windows, or add a mask up instead of choosing by it, transformers makes one from positions
        that begin anew."""
        config: Any = self.model.config
        chooses = config._attn_implementation == "sdpa"
        return batch.mask if chooses and not getattr(config, "sliding_window", None) else None


def recompute_layers(learner: Learner) -> None:
    """Keep of each layer what goes into it, and compute it a second time in the backward pass."""
    model: Any = learner.model
    if not model.supports_gradient_checkpointing:
        raise StartError(
            f"--gradient-checkpointing is not possible with {type(model).__name__}; "
            "leave it out, and take smaller batches"
        )
    name = "activation_checkpointing_enable"  # the older name ends with transformers 6
    enable = getattr(model, name, None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def reshard(learner: nn.Module) -> None:
    """Let go of weights that a pass without gradients has left gathered.

    Until then `parameters()` names what was gathered, and not what the optimiser knows.
    """
    for module in learner.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def trained_parameters(learner: nn.Module) -> dict[str, nn.Parameter]:
    """Those that a step changes, by name."""
    return {name: p for name, p in learner.named_parameters() if p.requires_grad}


def on(batch: Batch, device: torch.device) -> Batch:
    """The batch in the device's memory."""
    mask = None if batch.mask is None else batch.mask.to(device)
    return Batch(batch.ids.to(device), batch.labels.to(device), batch.positions.to(device), mask)
