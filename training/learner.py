"""The model as it is trained: from a batch to the sum of its losses, on one device."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

IGNORED = -100  # a label that is not learned


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
            attention_mask=batch.mask,
            use_cache=False,
        ).last_hidden_state

    def forward(self, batch: Batch) -> Tensor:
        """The sum, in float32, of the losses of the batch's trained tokens; a scalar.

        Only positions with a label are scored: most of a batch is prompt.
        """
        labels = batch.labels[:, 1:]
        learned = labels != IGNORED
        hidden = self.hidden(batch)[:, :-1][learned]
        head = self._own.get_output_embeddings()
        return cross_entropy(head(hidden).float(), labels[learned], reduction="sum")


def trained_parameters(learner: nn.Module) -> dict[str, nn.Parameter]:
    """Those that a step changes, by name."""
    return {name: p for name, p in learner.named_parameters() if p.requires_grad}


def on(batch: Batch, device: torch.device) -> Batch:
    """The batch in the device's memory."""
    mask = None if batch.mask is None else batch.mask.to(device)
    return Batch(batch.ids.to(device), batch.labels.to(device), batch.positions.to(device), mask)
