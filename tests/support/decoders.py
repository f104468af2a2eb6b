"""Small models of the families whose steps are danlu's own library's."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    GlmConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from .tiny import random_model

CONTEXT = 128
SIZES: dict[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": 0,
    "eos_token_id": None,
    "pad_token_id": 0,
}
KINDS: dict[str, Callable[..., Any]] = {  # one to five heads share their keys
    "llama": lambda **more: LlamaConfig(**SIZES | more),
    "llama with biases": lambda **more: LlamaConfig(
        **SIZES | more, attention_bias=True, mlp_bias=True
    ),
    "mistral": lambda **more: MistralConfig(
        **SIZES | {"num_attention_heads": 6} | more, sliding_window=None, head_dim=48
    ),
    "qwen2": lambda **more: Qwen2Config(
        **SIZES | {"num_key_value_heads": 4} | more, tie_word_embeddings=True
    ),
    "qwen3": lambda **more: Qwen3Config(
        **SIZES | {"num_attention_heads": 5, "num_key_value_heads": 1} | more, head_dim=128
    ),
    "glm": lambda **more: GlmConfig(**SIZES | more, head_dim=32, attention_bias=True),
}

# One whose sums are longer than the library makes them at a time, and whose heads share more keys.
WIDE: dict[str, Any] = {"num_attention_heads": 16, "intermediate_size": 1088, "head_dim": 32}


def decoder_model(kind: str, dtype: torch.dtype = torch.float32, **more: Any) -> PreTrainedModel:
    """One of KINDS; `more` is for its configuration."""
    model: Any = random_model(KINDS[kind](**more))
    for name, weights in model.named_parameters():
        if "norm" in name or "bias" in name:  # else ones and zeros, which no mistake would show
            weights.uniform_(0.5, 1.5)
    made: PreTrainedModel = model.to(dtype)
    return made
