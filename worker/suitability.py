"""Whether a model can be run in batches over the KV cache, found out by running it once.

A step puts tokens of many texts into one row, so everything in the model but attention must work on
each token by itself, and attention must be the plain one that is plugged in.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import PreTrainedModel

from .attention import plug_in
from .kv_cache import LayerShape

LOOK = 12  # tokens of each of the trial's two texts
# How far apart results may be, as `distance` has it. Rounding in half precision alone makes it 0.1
# now and then; what is computed in another way is off by more than half.
CLOSE, CLOSE_IN_HALF = 1e-3, 0.3
# Rotations that depend on how long the longest text of the batch is.
MOVING_ROPES = {"dynamic", "longrope"}
# What a model's code raises where it meets what it was not made for; not what a device raises.
REFUSALS = (TypeError, ValueError, AttributeError, LookupError, NotImplementedError)
FULL, SLIDING = "full_attention", "sliding_attention"


@dataclass(frozen=True, slots=True)
class Fit:
    """The layers' shapes of a model that fits and the number of ids that it scores, or half a
    sentence on why it does not."""

    layers: tuple[LayerShape, ...] = ()
    vocabulary: int = 0
    reason: str = ""


def fitted(model: PreTrainedModel, context_length: int) -> Fit:
    """Plugs attention in where the model fits, and leaves it as it was where it does not.

    Runs the model, on the calling thread.
    """
    reason = _said_against(model, context_length)
    if reason:
        return Fit(reason=reason)
    before = model.config._attn_implementation
    fit = _tried(model)
    if fit.reason:
        model.set_attn_implementation(before)
    return fit


def _said_against(model: PreTrainedModel, context_length: int) -> str:
    """What the model's class and configuration tell."""
    config: Any = model.config.get_text_config()
    if not type(model).__module__.startswith("transformers."):
        return "it runs code of its own"
    if getattr(model, "_is_stateful", False) or not model._supports_attention_backend:
        return "its attention cannot be exchanged"
    if "logits_to_keep" not in inspect.signature(model.forward).parameters:
        return "it gives all logits or none"
    if moving := _rotations(getattr(config, "rope_parameters", None) or {}) & MOVING_ROPES:
        return f"its {min(moving)} rotation depends on the longest text"
    layers = set(getattr(config, "layer_types", None) or ())
    if others := layers - {FULL, SLIDING}:
        return f"it has {min(others)} layers"
    window = getattr(config, "sliding_window", None)  # of all layers where none is named
    if window is not None and window < context_length and layers != {FULL}:
        return f"its attention sees {window} tokens only"
    return ""


def _rotations(parameters: Mapping[str, Any]) -> set[str]:
    """The types of rotation: there is one, or one for each type of layer."""
    each = [parameters, *(part for part in parameters.values() if isinstance(part, Mapping))]
    return {part["rope_type"] for part in each if "rope_type" in part}


def distance(found: Tensor, expected: Tensor) -> float:
    """The largest of two results' rows [rows, vocabulary], of that row's spread; NaN where one is
    no number. What is added to a whole row counts nothing: it changes no choice, and half precision
    adds much where a model's numbers are large. Rows without a spread, as a token for padding may
    have them, are to be the same."""
    one, other = found.float(), expected.float()
    apart = (one - other).std(dim=1)
    return float(torch.where(apart == 0, 0.0, apart / other.std(dim=1)).max())


class Trial:
    """Two texts in one row, each of which sees itself only; remembers the layers' shapes."""

    def __init__(self, length: int, device: torch.device) -> None:
        text = torch.arange(2 * length, device=device) // length
        self._mask = (text.unsqueeze(1) == text).tril()
        self.shapes: dict[int, LayerShape] = {}

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float | None
    ) -> Tensor:
        if key.shape != value.shape:
            raise NotImplementedError("values of another shape than keys")
        if layer in self.shapes:
            raise NotImplementedError("a layer that attends twice")
        self.shapes[layer] = LayerShape(key.shape[1], key.shape[3])
        return scaled_dot_product_attention(
            query, key, value, attn_mask=self._mask, scale=scale, enable_gqa=True
        )


def _tried(model: Any) -> Fit:
    """The model's own results for two texts, beside those for both in one row."""
    count = model.get_input_embeddings().weight.shape[0]
    ids = (torch.arange(2 * LOOK, device=model.device) * 7919 % count).unsqueeze(0)
    each = torch.arange(LOOK, device=model.device)
    trial = Trial(LOOK, model.device)
    with torch.inference_mode():
        alone = [model(input_ids=i, use_cache=False).logits[0] for i in ids.split(LOOK, dim=1)]
        plug_in(model)
        try:
            both = model(
                input_ids=ids,
                position_ids=torch.cat([each, each]).unsqueeze(0),
                use_cache=False,
                step=trial,
            ).logits[0]
        except REFUSALS as exc:
            return Fit(reason=f"it cannot be run so: {exc}")
        apart = distance(both, torch.cat(alone))
    layers = tuple(trial.shapes[i] for i in sorted(trial.shapes))
    if len(layers) != model.config.get_text_config().num_hidden_layers:
        return Fit(reason="not every layer of it attends")
    if not apart < (CLOSE if both.dtype == torch.float32 else CLOSE_IN_HALF):
        return Fit(reason=f"its results would differ by {apart:.2g} of their spread")
    return Fit(layers, both.shape[-1])
