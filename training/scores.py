"""From hidden states to logits as the model itself goes: some scale or cap what their head says."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast


def scores(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Logits [n, vocabulary] of `hidden` [n, width].

    The model's own forward pass goes all the way; where its layers would be called stands what they
    have already said. So a factor, a cap or a bias behind the head is not ours to know.
    """
    own: Any = model  # transformers annotates it only in part
    with _said(model, hidden[None]):
        logits: Tensor = own(inputs_embeds=hidden[None], use_cache=False).logits
    return logits[0]


class _Said(nn.Module):
    """Hidden states in place of the layers that made them; all else is theirs."""

    def __init__(self, layers: nn.Module, hidden: Tensor) -> None:
        super().__init__()
        self._layers = (layers,)  # not a child, lest the model had it twice
        self._hidden = hidden

    def forward(self, *_: Any, **__: Any) -> Any:
        return _Output(last_hidden_state=self._hidden)

    def __getattr__(self, name: str) -> Any:
        """OPT calls its layers by another name; Falcon-H1 keeps a factor among them."""
        found = getattr(self.__dict__["_layers"][0], name)
        return self if isinstance(found, nn.Module) else found


class _Output(BaseModelOutputWithPast):
    """Whatever else a model looks for there, such as the routes of experts, it does not find."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


@contextmanager
def _said(model: PreTrainedModel, hidden: Tensor) -> Iterator[None]:
    name = model.base_model_prefix
    layers = getattr(model, name)
    model._modules[name] = _Said(layers, hidden)
    try:
        yield
    finally:
        model._modules[name] = layers
