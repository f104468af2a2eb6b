"""A model's layers are packed one after the other, and what stays dense stays what it was."""

import logging
from typing import Any

import pytest
import torch
from support.glm import glm_config
from support.tiny import random_model, tiny_config
from torch import nn
from transformers import GPT2Config, PreTrainedModel

from danlu.adapters.errors import StartError
from danlu.adapters.models.weight_only.linear import WeightOnlyLinear
from danlu.adapters.models.weight_only.npu import NPUInt8
from danlu.adapters.models.weight_only.packing import (
    Packing,
    Stored,
    packing_for,
    quantise,
    size,
)

BFLOAT16 = torch.bfloat16
IDS = torch.tensor([[5, 17, 3, 80, 41, 41, 9]])


def in_bfloat16(config: Any) -> PreTrainedModel:
    model: Any = random_model(config)
    halved: PreTrainedModel = model.to(BFLOAT16)
    return halved


def a_model(**changes: Any) -> PreTrainedModel:
    """A Llama whose layers the kernels take, in bfloat16."""
    sizes = {"vocab_size": 448, "hidden_size": 128, "intermediate_size": 192, "head_dim": 32}
    return in_bfloat16(tiny_config(**{**sizes, **changes}))


def packing(quantization: str = "int8", **more: Any) -> Packing:
    found = packing_for(quantization, "cpu", **more)
    assert found is not None
    return found


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        scores: torch.Tensor = model(input_ids=IDS).logits[0]
    return scores.to(torch.float32)


def kinds(model: nn.Module, kind: type[nn.Module]) -> set[str]:
    return {name for name, layer in model.named_modules() if type(layer) is kind}


@pytest.mark.parametrize(("quantization", "near"), [("int8", 0.99), ("int4", 0.8)])
@pytest.mark.parametrize("make", [a_model, lambda: a_model(attention_bias=True)])
def test_a_packed_model_says_much_the_same(quantization: str, near: float, make: Any) -> None:
    model = make()
    before = logits(model)
    quantise(model, packing(quantization), "cpu")
    assert not kinds(model, nn.Linear)
    alike = torch.nn.functional.cosine_similarity(logits(model), before)
    assert alike.min() > near


def test_a_bias_is_kept_and_added() -> None:
    model = in_bfloat16(glm_config(hidden_size=64, head_dim=32, intermediate_size=64))
    bias: Any = model.get_submodule("model.layers.0.self_attn.q_proj").bias
    torch.nn.init.constant_(bias, 100.0)
    quantise(model, packing(), "cpu")
    layer = model.get_submodule("model.layers.0.self_attn.q_proj")
    assert isinstance(layer, WeightOnlyLinear)
    assert layer(torch.zeros(1, 64, dtype=BFLOAT16)).eq(100).all()


def test_embeddings_that_are_also_the_output_stay_dense_as_embeddings() -> None:
    model = a_model(tie_word_embeddings=True)
    table: Any = model.get_submodule("model.embed_tokens")
    before = table.weight.clone()
    quantise(model, packing(), "cpu")
    assert "lm_head" in kinds(model, WeightOnlyLinear)
    assert torch.equal(table.weight, before)


def test_the_output_layer_can_be_left_alone() -> None:
    model = a_model()
    whole = packing()
    quantise(model, Packing(whole.kernel, whole.dtype, output=False), "cpu")
    assert kinds(model, nn.Linear) == {"lm_head"}


def test_layers_that_the_kernel_does_not_take_stay_dense(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    model = a_model(intermediate_size=200)
    quantise(model, packing("int4"), "cpu")
    dense = {name.rpartition(".")[2] for name in kinds(model, nn.Linear)}
    assert dense == {"gate_proj", "up_proj", "down_proj"}
    assert "weights packed layers=9 dense_layers=6 bytes=" in caplog.text


def test_memory_falls_with_the_bits() -> None:
    sizes = {}
    for quantization in ("int8", "int4"):
        model = a_model(vocab_size=64, hidden_size=512, intermediate_size=1024)
        dense = size(model)
        quantise(model, packing(quantization), "cpu")
        sizes[quantization] = size(model) / dense
    assert sizes["int8"] < 0.55
    assert sizes["int4"] < 0.38


def test_each_dense_weight_is_let_go_before_the_next_is_packed() -> None:
    model = a_model()
    held: list[int] = []
    quantise(model, packing(), "cpu", report=lambda *_: held.append(size(model)))
    assert held == sorted(held, reverse=True)
    assert len(set(held)) == len(held)


def test_a_model_without_such_layers_is_refused() -> None:
    model = random_model(GPT2Config(n_layer=1, n_head=2, n_embd=48, vocab_size=50, n_positions=16))
    with pytest.raises(StartError, match="^GPT2LMHeadModel has no layer that can be packed; leave"):
        quantise(model, packing(), "cpu")


@pytest.mark.parametrize("wanted", [torch.float32, torch.float16])
def test_a_number_format_that_the_kernel_does_not_take_is_refused(wanted: torch.dtype) -> None:
    name = str(wanted).removeprefix("torch.")
    sentence = f"^--quantization int4 computes in bfloat16 on cpu, not in {name}; leave --dtype out"
    with pytest.raises(StartError, match=sentence):
        packing("int4", wanted=wanted)


FITS, MISFITS = ((128, 64), (64, 64)), ((128, 64), (60, 64))


def test_stored_integers_are_packed_unasked_on_the_host() -> None:
    found = packing_for(None, "cpu", stored=Stored(4, FITS))
    assert found is not None
    assert (found.kernel.bits, found.dtype, found.output) == (4, BFLOAT16, False)


@pytest.mark.parametrize(
    ("device", "wanted", "stored"),
    [
        ("cpu", torch.float32, Stored(4, FITS)),
        ("cpu", None, Stored(4, MISFITS)),
        ("npu:0", None, Stored(4, FITS)),
        ("cpu", None, None),
    ],
)
def test_otherwise_they_become_dense(
    device: str, wanted: torch.dtype | None, stored: Stored | None
) -> None:
    assert packing_for(None, device, wanted=wanted, stored=stored) is None


def test_a_layer_can_be_packed_by_another_devices_kernel() -> None:
    model = a_model()
    quantise(model, Packing(NPUInt8("support.fake_weight_quant"), BFLOAT16), "cpu")
    assert not kinds(model, nn.Linear)
    assert logits(model).isfinite().all()
