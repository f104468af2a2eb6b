"""A directory of int4 or int8 stays packed as it is stored, and says what its dense weights say."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_glm import DESCRIBED, FITTING, logits, quantised, save_original, tiny_glm
from transformers import GlmForCausalLM

from danlu.adapters.models.chatglm.loading import load_chatglm
from danlu.adapters.models.checkpoint import Checkpoint
from danlu.adapters.models.formats import chosen_packing
from danlu.adapters.models.weight_only.linear import WeightOnlyLinear
from danlu.adapters.models.weight_only.packing import Packing

pytestmark = pytest.mark.slow

BFLOAT16 = (
    0.03  # of the logits' size: what rounding activations to bfloat16 costs dense weights, too
)


def config(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "config.json").read_text())
    return found


def load(path: Path, packing: Packing | None) -> GlmForCausalLM:
    dtype = packing.dtype if packing else torch.float32
    return load_chatglm(path, config(path), "cpu", dtype, packing=packing)


def unasked(path: Path, **how: Any) -> Packing | None:
    return chosen_packing(Checkpoint(path, gguf=False, config=config(path)), "cpu", **how)


def packed_layers(model: GlmForCausalLM) -> set[str]:
    return {n for n, layer in model.named_modules() if isinstance(layer, WeightOnlyLinear)}


def layer_of(model: GlmForCausalLM, name: str) -> WeightOnlyLinear:
    layer = model.get_submodule(name)
    assert isinstance(layer, WeightOnlyLinear)
    return layer


def apart(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.float() - exact).norm() / exact.norm())


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("changes", [{}, {"groups": 4, "per_head": True}, {"qkv_bias": False}])
def test_what_is_stored_stays_packed_and_says_the_same(
    bits: int, changes: dict[str, Any], tmp_path: Path
) -> None:
    path = quantised(tmp_path / "model", bits, **changes)
    packing = unasked(path)
    assert packing is not None
    found = load(path, packing)
    assert len(packed_layers(found)) == 6 * DESCRIBED.layers
    assert "lm_head" not in packed_layers(found)
    assert apart(logits(found), logits(load(path, None))) < BFLOAT16


def test_the_integers_are_exactly_those_of_the_file(tmp_path: Path) -> None:
    path = quantised(tmp_path / "model", 8)
    layer = layer_of(load(path, unasked(path)), "model.layers.1.self_attn.o_proj")
    stored = torch.load(path / "pytorch_model.bin", weights_only=True)
    name = "transformer.encoder.layers.1.self_attention.dense.weight"
    assert torch.equal(layer.weight, stored[name])
    assert torch.equal(layer.scales, stored[f"{name}_scale"].to(torch.bfloat16))


def test_packed_weights_do_not_change_with_their_file(tmp_path: Path) -> None:
    path = quantised(tmp_path / "model", 8)
    found = load(path, unasked(path))
    before = logits(found)
    file = path / "pytorch_model.bin"
    file.write_bytes(bytes(file.stat().st_size))
    assert torch.equal(logits(found), before)


@pytest.mark.parametrize(("stored", "asked", "exact"), [(4, "int8", True), (8, "int4", False)])
def test_other_integers_can_be_asked_for(
    stored: int, asked: str, exact: bool, tmp_path: Path
) -> None:
    """Wider ones hold the stored ones as they are; narrower ones are rounded anew."""
    path = quantised(tmp_path / "model", stored)
    found = load(path, unasked(path, quantization=asked))
    assert "lm_head" in packed_layers(found)
    layer = layer_of(found, "model.layers.0.mlp.down_proj")
    assert (layer.scales.dim() == 1) is exact
    assert apart(logits(found), logits(load(path, None))) < (2 * BFLOAT16 if exact else 0.5)


def test_full_numbers_that_were_asked_for_are_dense(tmp_path: Path) -> None:
    path = quantised(tmp_path / "model", 4)
    assert unasked(path, dtype="float32") is None


def test_integers_are_dense_for_who_wants_gradients(tmp_path: Path) -> None:
    path = quantised(tmp_path / "model", 4)
    assert unasked(path, dtype="bfloat16") is not None
    assert unasked(path, dtype="bfloat16", packed=False) is None


def test_sizes_that_no_kernel_takes_are_dense(tmp_path: Path) -> None:
    assert unasked(quantised(tmp_path / "model", 4, inner=24)) is None


def test_any_chatglm_is_packed_while_it_is_read(tmp_path: Path) -> None:
    path = save_original(tmp_path / "model", tiny_glm(**FITTING))
    found = load(path, unasked(path, quantization="int8"))
    assert len(packed_layers(found)) == 6 * DESCRIBED.layers + 1
    assert apart(logits(found), logits(load(path, None))) < 2 * BFLOAT16
