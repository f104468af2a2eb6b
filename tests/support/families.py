"""Tiny models of many families, and what a batch teaches them."""

from typing import Any

import torch
from transformers import CONFIG_MAPPING, PreTrainedModel

from danlu.training.learner import Batch, Learner

from .tiny import random_model

SHAPE: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILIES: dict[str, dict[str, Any]] = {  # and what is special about each of them
    "llama": {"head_dim": 8},
    "glm": {"head_dim": 8},
    "mixtral": {"num_local_experts": 2},  # looks for routes of experts
    "gemma2": {"head_dim": 8},  # caps logits
    "granite": {"logits_scaling": 4.0},
    "cohere": {},  # scales logits
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},  # its layers have another name
    "phi": {},  # a bias in the head
    "mistral": {"sliding_window": 4},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},  # the head is the embedding
}


def a_model(family: str, **changes: Any) -> PreTrainedModel:
    config = CONFIG_MAPPING[family](**{**SHAPE, **FAMILIES[family], **changes})
    return random_model(config).requires_grad_(True)


def gradients(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def learned(model: PreTrainedModel, batch: Batch) -> tuple[float, dict[str, torch.Tensor]]:
    """The summed loss of a batch, and all gradients of it."""
    model.zero_grad()
    loss = Learner(model)(batch)
    loss.backward()
    return loss.item(), {name: grad.clone() for name, grad in gradients(model).items()}


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, grad in ours.items():
        torch.testing.assert_close(grad, theirs[name], rtol=1e-4, atol=1e-4, msg=name)
