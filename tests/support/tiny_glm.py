"""ChatGLM models of a few thousand random weights, and their directories in the original layout."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import GlmForCausalLM

from danlu.adapters.models.chatglm.config import Description
from danlu.adapters.models.chatglm.export import export_original
from danlu.adapters.models.chatglm.native import generation_config, native_config

DESCRIBED = Description(
    generation=2,
    vocabulary=96,
    layers=2,
    hidden=32,
    inner=24,
    heads=4,
    groups=2,
    head_size=8,
    per_head=False,
    qkv_bias=True,
    epsilon=1e-5,
    positions=64,
    dtype="float32",
)
IDS = torch.tensor([[5, 17, 3, 80, 41, 41, 9]])


def tiny_glm(seed: int = 0, **changes: Any) -> GlmForCausalLM:
    """A model of random weights; `changes` are fields of its description."""
    described = replace(DESCRIBED, **changes)
    torch.default_generator.manual_seed(seed)
    kind: Any = GlmForCausalLM  # its constructor is not annotated
    model: GlmForCausalLM = kind(native_config(described))
    for weights in model.parameters():
        torch.nn.init.normal_(weights, mean=0.1, std=0.3)
    model.generation_config = generation_config(described)
    model.train(False)
    return model


def save_original(directory: Path, model: GlmForCausalLM | None = None, **how: Any) -> Path:
    """`model` in the original layout, with a tokenizer.model that is none."""
    vocabulary = directory.parent / "some.model"
    vocabulary.parent.mkdir(parents=True, exist_ok=True)
    vocabulary.write_bytes(b"pieces")
    export_original(model or tiny_glm(), vocabulary, directory, **how)
    return directory


def logits(model: Any, ids: torch.Tensor = IDS) -> torch.Tensor:
    """What the model says of `ids` [batch, tokens]: [batch, tokens, vocabulary]."""
    with torch.inference_mode():
        scores: torch.Tensor = model(input_ids=ids).logits
    return scores
