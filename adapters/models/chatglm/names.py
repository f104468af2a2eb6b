"""The original's tensors: their names and shapes, and the native ones that each stands for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from .config import Description

ROTARY = "transformer.rotary_pos_emb.inv_freq"  # stored by the original, computed by the native one
QKV = "query_key_value"


@dataclass(frozen=True, slots=True)
class Part:
    """One tensor of the original: the native ones it holds, three where q, k and v are one."""

    natives: tuple[str, ...]
    shape: tuple[int, ...]
    quantised: bool = False  # where the checkpoint is


def parts(of: Description) -> dict[str, Part]:
    """All tensors of the original by name, in its own order; all but ROTARY."""
    words = (of.vocabulary, of.hidden)
    return {
        "transformer.embedding.word_embeddings.weight": Part(("model.embed_tokens.weight",), words),
        **dict(_layers(of)),
        "transformer.encoder.final_layernorm.weight": Part(("model.norm.weight",), (of.hidden,)),
        "transformer.output_layer.weight": Part(("lm_head.weight",), words),
    }


def _layers(of: Description) -> Iterator[tuple[str, Part]]:
    for number in range(of.layers):
        for name, part in _layer(of).items():
            natives = tuple(f"model.layers.{number}.{native}" for native in part.natives)
            full = f"transformer.encoder.layers.{number}.{name}"
            yield full, Part(natives, part.shape, part.quantised)


def _layer(of: Description) -> dict[str, Part]:
    rows = (of.heads + 2 * of.groups) * of.head_size
    bias = {f"self_attention.{QKV}.bias": Part(_projections("bias"), (rows,))}
    return {
        "input_layernorm.weight": Part(("input_layernorm.weight",), (of.hidden,)),
        f"self_attention.{QKV}.weight": Part(_projections("weight"), (rows, of.hidden), True),
        **(bias if of.qkv_bias else {}),
        "self_attention.dense.weight": Part(
            ("self_attn.o_proj.weight",), (of.hidden, of.heads * of.head_size), True
        ),
        "post_attention_layernorm.weight": Part(("post_attention_layernorm.weight",), (of.hidden,)),
        "mlp.dense_h_to_4h.weight": Part(
            ("mlp.gate_up_proj.weight",), (2 * of.inner, of.hidden), True
        ),
        "mlp.dense_4h_to_h.weight": Part(("mlp.down_proj.weight",), (of.hidden, of.inner), True),
    }


def _projections(kind: str) -> tuple[str, ...]:
    return tuple(f"self_attn.{letter}_proj.{kind}" for letter in "qkv")


def split(rows: torch.Tensor, of: Description) -> tuple[torch.Tensor, ...]:
    """The q, k and v of a query_key_value [rows, …]."""
    if of.per_head:
        heads = rows.view(of.heads, 3, of.head_size, *rows.shape[1:])
        return tuple(heads[:, i].flatten(0, 1) for i in range(3))
    sizes = [count * of.head_size for count in (of.heads, of.groups, of.groups)]
    return tuple(torch.split(rows, sizes))


def joined(qkv: Sequence[torch.Tensor], of: Description) -> torch.Tensor:
    """What `split` has split."""
    if of.per_head:
        heads = [part.view(of.heads, of.head_size, *part.shape[1:]) for part in qkv]
        return torch.stack(heads, dim=1).flatten(0, 2)
    return torch.cat(list(qkv))


def quantised_sizes(of: Description) -> Iterator[tuple[int, int]]:
    """The (rows, columns) of every native weight whose original is quantised."""
    for name, part in _layer(of).items():
        if part.quantised:
            rows, columns = part.shape
            heads = (of.heads, of.groups, of.groups)
            counts = [h * of.head_size for h in heads] if QKV in name else [rows]
            yield from ((count, columns) for count in counts)
