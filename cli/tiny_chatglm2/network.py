"""The tiny model before it has learned anything: ChatGLM2's architecture, two million weights."""

import torch
from transformers import GlmForCausalLM

from ...adapters.models.chatglm.config import Description
from ...adapters.models.chatglm.native import native_config

MULTIPLE = 64  # of which the padded vocabulary has a whole number
# Larger than usual: so it learns by heart in a third of the steps.
SPREAD = 0.05


def described(vocabulary: int) -> Description:
    """`vocabulary` is padded: the last rows stand for no token, as in the original."""
    return Description(
        generation=2,
        vocabulary=-(-vocabulary // MULTIPLE) * MULTIPLE,
        layers=3,
        hidden=256,
        inner=512,
        heads=8,
        groups=2,
        head_size=32,
        per_head=False,
        qkv_bias=True,
        epsilon=1e-5,
        positions=2048,
    )


def network(vocabulary: int, seed: int) -> GlmForCausalLM:
    """Float32, on the host; the same for the same seed."""
    torch.manual_seed(seed)
    config = native_config(described(vocabulary))
    config.initializer_range = SPREAD
    return GlmForCausalLM(config)
