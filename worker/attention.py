"""Attention over the KV cache for a step's tokens, plugged into transformers' models.

A step's tokens go through the model as one row, [1, tokens]: first those of answers being written,
then drafts and parts of prompts. All else in a model works on each token alone; here is where they
meet.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from .kv_cache import KvCache

NAME = "danlu"  # a name that transformers has no mask for, and so makes none
BEYOND = ("softcap", "s_aux", "position_bias")  # what some layers want, and is not done here


class Step(Protocol):
    """What is done with one layer's queries [1, heads, tokens, size], keys and values [1, kv_heads,
    tokens, size]; the result is like the queries."""

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float | None
    ) -> Tensor: ...


def plug_in(model: PreTrainedModel) -> None:
    """From now on the model's attention is what its call's `step` says."""
    AttentionInterface.register(NAME, _attention)
    model.set_attn_implementation(NAME)


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    step: Step | None = None,
    **options: object,
) -> tuple[Tensor, None]:
    """transformers' interface; without a step, one whole text that nothing pads.

    A window that attention slides over the text is none as long as texts are shorter.
    """
    if beyond := [name for name in BEYOND if options.get(name) is not None]:
        raise NotImplementedError(f"attention with {beyond[0]}")
    if attention_mask is not None:
        raise NotImplementedError("attention with a mask of the model's own")
    if step is None:
        out = scaled_dot_product_attention(
            query, key, value, is_causal=query.shape[2] > 1, scale=scaling, enable_gqa=True
        )
    else:
        out = step.attend(module.layer_idx, query, key, value, scaling)
    return out.transpose(1, 2), None


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens `first` to `first + count` of the step: a prompt's part, or a draft, which ends at
    token `end` of its slot. `mask` [count, end] is true where a token sees another; None where it
    is the prompt's beginning, and plainly causal."""

    first: int
    count: int
    slot: int
    end: int
    mask: Tensor | None


@dataclass(frozen=True, slots=True)
class CachedStep:
    """One step over the cache.

    The first `rows` tokens are one each of the slots `slots` [rows]; None says that these are
    the first slots, in order. `mask` [span, 1, length] is true for the tokens that each of the
    first `span` slots sees. `places` [heads, tokens], by a layer's number of heads, says where each
    token's key and value go: an index into all tokens of all heads of all slots.
    """

    cache: KvCache
    rows: int
    slots: Tensor | None
    mask: Tensor
    places: Mapping[int, Tensor]
    spans: tuple[Span, ...]

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float | None
    ) -> Tensor:
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        places = self.places[keys.shape[1]]
        _put(keys, places, key)
        _put(values, places, value)
        parts = [self._decode(query[:, :, : self.rows], keys, values, scale)] if self.rows else []
        parts += [_read(span, query, keys, values, scale) for span in self.spans]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)

    def _decode(self, query: Tensor, keys: Tensor, values: Tensor, scale: float | None) -> Tensor:
        """[1, heads, rows, size]: one call for all slots. The query heads that share a key head
        stand in for queries of one sequence: nothing is copied to make as many keys as queries."""
        span, _, length = self.mask.shape
        heads, size = query.shape[1], query.shape[3]
        groups = heads // keys.shape[1]
        rows = query[0].transpose(0, 1).reshape(self.rows, keys.shape[1], groups, size)
        if self.slots is not None:
            rows = rows.new_zeros(span, *rows.shape[1:]).index_copy_(0, self.slots, rows)
        out = scaled_dot_product_attention(
            rows,
            keys[:span, :, :length],
            values[:span, :, :length],
            attn_mask=self.mask.unsqueeze(1).expand(span, 1, groups, length),
            scale=scale,
        )
        if self.slots is not None:
            out = out.index_select(0, self.slots)
        return out.reshape(1, self.rows, heads, -1).transpose(1, 2)


def _read(span: Span, query: Tensor, keys: Tensor, values: Tensor, scale: float | None) -> Tensor:
    """[1, heads, count, size] for a part of one prompt."""
    slot = slice(span.slot, span.slot + 1)
    return scaled_dot_product_attention(
        query[:, :, span.first : span.first + span.count],
        keys[slot, :, : span.end],
        values[slot, :, : span.end],
        attn_mask=span.mask,
        is_causal=span.mask is None,
        scale=scale,
        enable_gqa=True,
    )


def _put(cache: Tensor, places: Tensor, new: Tensor) -> None:
    """Write `new` [1, heads, tokens, size] to its `places` [heads, tokens]."""
    cache.view(-1, cache.shape[-1]).index_copy_(
        0, places.reshape(-1), new.reshape(-1, new.shape[-1])
    )
