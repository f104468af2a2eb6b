"""LoRA on layers whose weights stay packed: it adds to their outputs as it does to dense ones."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.batches import Batch
from support.glm import glm_config
from support.tiny import random_model
from support.tuned import lora_files, plain_logits

from danlu.adapters.models.weight_only.linear import WeightOnlyLinear
from danlu.adapters.models.weight_only.packing import packing_for, quantise

pytestmark = pytest.mark.slow

LAYERS = [f"model.layers.{i}.self_attn.q_proj" for i in range(2)]


@pytest.mark.parametrize("bits", ["int8", "int4"])
def test_a_lora_adds_to_packed_layers(tmp_path: Path, bits: str) -> None:
    """Beside a copy whose outputs a hook of the test's own adds the same to."""
    config = glm_config(hidden_size=128, intermediate_size=256, num_attention_heads=4, head_dim=32)
    packing = packing_for(bits, "cpu")
    assert packing is not None
    models: list[Any] = [random_model(config) for _ in range(2)]
    for model in models:
        model.to(torch.bfloat16)
        quantise(model, packing, "cpu")
    tensors = {}
    for name in LAYERS:
        down, up = torch.randn(4, 128).bfloat16(), torch.randn(128, 4).bfloat16()
        tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"] = down, up
        layer = models[0].get_submodule(name)
        assert isinstance(layer, WeightOnlyLinear)
        layer.register_forward_hook(
            lambda _, given, out, down=down, up=up: out + given[0] @ down.T @ up.T
        )
    lora_files(tmp_path / "lora", tensors, r=4, lora_alpha=4)
    prompt = list(range(5, 25))
    plain, expected = plain_logits(models[1], prompt)[-1], plain_logits(models[0], prompt)[-1]
    batch = Batch(models[1])
    asked = batch.ask(prompt, batch.load("lora", tmp_path / "lora"), tokens=1)
    batch.run()
    found = batch.logits[asked][0]
    spread = float(expected.float().std())
    assert float((found - expected).abs().max()) < 0.15 * spread
    assert float((plain - expected).abs().max()) > spread
