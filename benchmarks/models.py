"""Models that benchmarks are run on, made here: nothing is fetched."""

from typing import Any

import torch
from transformers import GlmForCausalLM

from danlu.adapters.models.chatglm.config import Description
from danlu.adapters.models.chatglm.native import generation_config, native_config

# ChatGLM2's shape and vocabulary in small: 288 million weights, of which a step reads 221 million.
SYNTHETIC = Description(
    generation=2,
    vocabulary=65024,
    layers=12,
    hidden=1024,
    inner=3424,
    heads=16,
    groups=2,
    head_size=64,
    per_head=False,
    qkv_bias=True,
    epsilon=1e-5,
    positions=4096,
)
NUMBERS = 1_000_003  # random ones, over and over; a prime, so that no two rows are the same
SPREAD = 0.02


def synthetic_glm(
    of: Description = SYNTHETIC, dtype: torch.dtype = torch.bfloat16
) -> GlmForCausalLM:
    """A ChatGLM2 of random weights, the same ones each time, in seconds."""
    kind: Any = GlmForCausalLM  # its constructor is not annotated
    with torch.device("meta"):
        model: GlmForCausalLM = kind(native_config(of))
    numbers = torch.randn(NUMBERS, generator=torch.Generator().manual_seed(0)).mul_(SPREAD)
    for name, empty in list(model.named_parameters()):
        owner, _, leaf = name.rpartition(".")
        weight = (
            torch.ones(empty.shape)
            if "norm" in name
            else numbers.repeat(-(-empty.numel() // NUMBERS))[: empty.numel()].view(empty.shape)
        )
        filled = torch.nn.Parameter(weight.to(dtype), requires_grad=False)
        model.get_submodule(owner).register_parameter(leaf, filled)
        numbers = numbers.roll(1)
    rotary: Any = type(model.model.rotary_emb)
    model.model.rotary_emb = rotary(model.config)
    model.generation_config = generation_config(of)
    model.train(False)
    return model
