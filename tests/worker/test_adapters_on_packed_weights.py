"""LoRA on layers whose weights stay packed: it adds to their outputs as it does to dense ones."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.batches import Batch
from support.card import HOST, card, on_card
from support.glm import glm_config
from support.tiny import random_model
from support.tuned import lora_files, plain_logits
from torch import Tensor

from danlu.adapters.models.weight_only.linear import WeightOnlyLinear
from danlu.adapters.models.weight_only.npu import NPUInt4, NPUInt8
from danlu.adapters.models.weight_only.packing import Packing, packing_for, quantise

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("bound")]

LAYERS = [f"model.layers.{i}.self_attn.q_proj" for i in range(2)]


def packing_here(bits: str) -> Packing:
    """A simulated card has no operators of packed weights: those of the documentation stand in."""
    if card() == HOST:
        packing = packing_for(bits, HOST)
        assert packing is not None
        return packing
    kernel = {"int8": NPUInt8, "int4": NPUInt4}[bits]
    return Packing(kernel("support.fake_weight_quant"), torch.bfloat16)


def adding(down: Tensor, up: Tensor) -> Any:
    return lambda _, given, out: out + given[0] @ down.T @ up.T


@pytest.mark.parametrize("bits", ["int8", "int4"])
def test_a_lora_adds_to_packed_layers(tmp_path: Path, bits: str) -> None:
    """Beside a copy whose outputs a hook of the test's own adds the same to."""
    config = glm_config(hidden_size=128, intermediate_size=256, num_attention_heads=4, head_dim=32)
    packing = packing_here(bits)
    models: list[Any] = [random_model(config) for _ in range(2)]
    for model in models:
        on_card(model.to(torch.bfloat16))
        quantise(model, packing, card())
    tensors = {}
    for name in LAYERS:
        down, up = torch.randn(4, 128).bfloat16(), torch.randn(128, 4).bfloat16()
        tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"] = down, up
        layer = models[0].get_submodule(name)
        assert isinstance(layer, WeightOnlyLinear)
        layer.register_forward_hook(adding(down.to(card()), up.to(card())))
    lora_files(tmp_path / "lora", tensors, r=4, lora_alpha=4)
    prompt = list(range(5, 25))
    plain, expected = (plain_logits(models[i], prompt)[-1] for i in (1, 0))
    batch = Batch(models[1])
    asked = batch.ask(prompt, batch.load("lora", tmp_path / "lora"), tokens=1)
    batch.run()
    found = batch.logits[asked][0]
    spread = float(expected.float().std())
    assert float((found - expected).abs().max()) < 0.15 * spread
    assert float((plain - expected).abs().max()) > spread
